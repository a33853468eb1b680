"""The header `traceparent` of W3C Trace Context: what is taken, and what is ignored as the rules say."""

from __future__ import annotations

import pytest

from service.engine.trace_context import read_trace

GIVEN = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_is_read_and_written_as_it_came() -> None:
    trace = read_trace({b"traceparent": GIVEN, b"tracestate": b"vendor=1"})
    assert trace is not None
    assert (trace.sampled, trace.state, trace.header()) == (True, "vendor=1", GIVEN)


def test_a_later_version_may_say_more() -> None:
    trace = read_trace({b"traceparent": b"01" + GIVEN[2:] + b"-more"})
    assert trace is not None
    assert trace.header() == GIVEN


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"ff" + GIVEN[2:],
        GIVEN + b"-more",
        GIVEN.upper(),
        b"00-" + b"0" * 32 + GIVEN[35:],
        GIVEN[:36] + b"0" * 16 + GIVEN[52:],
    ],
)
def test_a_header_that_breaks_the_rules_names_no_trace(header: bytes) -> None:
    assert read_trace({b"traceparent": header}) is None
