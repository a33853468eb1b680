"""The keys that are valid now."""

from __future__ import annotations

from collections.abc import Iterable

from service.http.keys.allowance import Allowance
from service.http.keys.key import Key, KeysUnusable, digest_of


class KnownKey:
    """A valid key, and what it has left of its rate."""

    __slots__ = ("allowance", "name", "only_metrics")

    def __init__(self, key: Key, allowance: Allowance | None) -> None:
        self.name = key.name
        self.only_metrics = key.only_metrics
        self.allowance = allowance


class KeyRing:
    """The keys of the settings, and those of a file, which another thread replaces while the service runs.

    Whether a key is needed never changes: a service that began with keys stays closed, whatever becomes of its file.
    """

    def __init__(self, fixed: Iterable[Key] = (), *, has_file: bool = False, requests_per_second: float = 0.0) -> None:
        """`fixed` are the keys of the settings; `requests_per_second` is the rate of each key, 0 for no limit."""
        self._fixed = tuple(fixed)
        self._rate = requests_per_second
        self._known: dict[bytes, KnownKey] = {}
        self.calls_need_key = has_file or any(not key.only_metrics for key in self._fixed)
        """True if everything that is not open to all needs a key."""
        self.metrics_need_key = has_file or bool(self._fixed)
        self.errors = 0
        """Looks that found the file unreadable or broken."""
        self.take_over(())

    def __len__(self) -> int:
        return len(self._known)

    def known(self, key: bytes) -> KnownKey | None:
        """Return what is known of a key as it was sent, or None.

        A look-up takes a time that depends on the digest. A caller cannot choose the digest that is compared: it
        would have to find keys whose digests begin alike. What such times could reveal is a digest, and a digest opens
        nothing. Comparing each of a thousand keys in constant time takes 66 µs, and this takes one.
        """
        return self._known.get(digest_of(key))

    def take_over(self, keys: Iterable[Key]) -> tuple[int, int]:
        """Make `keys` the keys of the file, all at once; return how many are new, and how many are gone.

        A key that stays keeps what it has left of its rate.

        Raises:
            KeysUnusable: the file says otherwise than the settings whether a key opens /metrics alone.
        """
        before, after = self._known, {key.digest: key for key in self._fixed}
        for key in keys:
            if key.only_metrics != after.setdefault(key.digest, key).only_metrics:
                raise KeysUnusable(
                    f"the key with the digest {key.digest.hex()[:8]}… opens /metrics alone here or in the settings, "
                    "and everything in the other"
                )
            after[key.digest] = key  # the file knows its name
        self._known = {digest: self._made(key, before.get(digest)) for digest, key in after.items()}
        return len(after.keys() - before.keys()), len(before.keys() - after.keys())

    def _made(self, key: Key, before: KnownKey | None) -> KnownKey:
        if not self._rate or key.only_metrics:
            return KnownKey(key, None)
        return KnownKey(key, before.allowance if before and before.allowance else Allowance(self._rate))
