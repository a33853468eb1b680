"""Requests that a malicious client can send without a key, and the statuses that answer them: one line for each attack.

`tests/service/http/calls/test_attacks.py` sends them all to a service with low limits and checks the answers;
`python -m bench.promises --only 8` sends them to one with its own limits, and measures what each costs.
"""

from __future__ import annotations

from tests.attacks import bodies, codings, heads, open_inference, picture_parts, pictures, submissions
from tests.attacks.wire import Attack

FAMILIES: dict[str, tuple[Attack, ...]] = {
    "heads and addresses": heads.ATTACKS,
    "bodies and chunks": bodies.ATTACKS,
    "codings and header fields": codings.ATTACKS,
    "pictures": pictures.ATTACKS,
    "shapes and parts of pictures": picture_parts.ATTACKS,
    "multipart, JSON and base64": submissions.ATTACKS,
    "open inference protocol": open_inference.ATTACKS,
}
ATTACKS: tuple[Attack, ...] = tuple(attack for family in FAMILIES.values() for attack in family)
