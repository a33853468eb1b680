"""A check for schemathesis: every error has a status that the document's table of errors lists.

One response, `default`, stands for all of them, so schemathesis itself would let any status pass.
"""

from __future__ import annotations

from typing import Any

import schemathesis

from service.http.answers.openapi import MEANINGS, PROTOCOL_MEANINGS


@schemathesis.check
def status_is_in_the_table(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    table = PROTOCOL_MEANINGS if case.path.startswith("/v2") else MEANINGS
    assert response.status_code < 400 or response.status_code in table, f"{response.status_code} is not in the table"
    return None
