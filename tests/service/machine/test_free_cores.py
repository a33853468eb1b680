"""Whether cores are free: more threads than there are cores never have one each."""

from __future__ import annotations

import os

from service.machine.free_cores import cores_are_free


def test_more_threads_than_cores_do_not_have_one_each() -> None:
    assert not cores_are_free(2 * len(os.sched_getaffinity(0)) + 1)
