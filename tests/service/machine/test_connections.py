"""Which connections make room for others, and what the log says of it."""

from __future__ import annotations

import logging

import pytest

from service.machine.connections import Connections


class Waiting:
    """A connection that has waited since `waiting_since`, if it does."""

    def __init__(self, waiting_since: float | None) -> None:
        self._since = waiting_since
        self.looks = 0
        self.ended_by: str | None = None

    @property
    def waiting_since(self) -> float | None:
        self.looks += 1
        return None if self.gone else self._since

    @property
    def gone(self) -> bool:
        return self.ended_by is not None

    def end(self, reason: str) -> None:
        self.ended_by = reason


def test_looking_for_room_is_rare_while_there_is_none() -> None:
    connections, busy = Connections(1), Waiting(None)
    for now in (1.0, 1.01, 1.02, 2.0):
        assert not connections.make_room([busy], now)
    assert (busy.looks, busy.ended_by) == (2, None)


def test_there_is_room_only_if_those_beyond_the_limit_are_gone_too() -> None:
    """Three may be open; two that were refused are still there."""
    ended = [Waiting(since) for since in (3.0, 1.0, 2.0, None, None)]
    assert Connections(3).make_room(ended, 4.0)
    assert [one.ended_by for one in ended] == ["made-room"] * 3 + [None] * 2
    too_few = [Waiting(since) for since in (1.0, 2.0, None, None, None)]
    assert not Connections(3).make_room(too_few, 4.0)


def test_a_part_of_many_is_ended_at_once() -> None:
    others = [Waiting(float(since)) for since in range(64)]
    assert Connections(64).make_room(others, 100.0)
    assert [one.ended_by for one in others] == ["made-room"] * 2 + [None] * 62


def test_room_is_made_once_for_many_that_arrive_together() -> None:
    """Those that were ended are listed until the event loop's next turn."""
    connections, others = Connections(64), [Waiting(float(since)) for since in range(64)]
    for arrived, ended in ((0, 2), (1, 2), (2, 4), (3, 4), (4, 6)):
        assert connections.make_room([*others, *[Waiting(100.0) for _ in range(arrived)]], 100.0)
        assert [one.gone for one in others] == [True] * ended + [False] * (64 - ended)


def test_one_line_in_a_while_tells_which_connections_were_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(8)
    with caplog.at_level(logging.INFO, "contraflow.http"):
        for now in (100.0, 101.0, 102.0, 103.0, 120.0, 140.0):
            connections.ended["reads-nothing"] += 2 if now < 110 else 0
            connections.ended["malformed-request"] += 1
            connections.ended["idle"] += 1
            connections.tick(now, 0)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["connections ended: 2 reads-nothing", "connections ended: 6 reads-nothing"]
