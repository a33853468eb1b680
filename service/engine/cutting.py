"""How the images of one request are cut into tickets, which are what run slots take."""

from __future__ import annotations

from itertools import pairwise

from service.bundles.served_model import ServedGraph
from service.contract.runtime.provider import CPU

WORTH_SHARING = 0.003
"""Seconds of work, on one core, from which it is shared out: waking a second slot takes its time too."""


def cut(graph: ServedGraph, images: int, idle_slots: int) -> list[slice]:
    """Return which images each ticket has, none more than the graph's most.

    Images that cores are idle for are shared out evenly among them; else every run is as full as it can be. A graph in
    which samples mix is never cut.
    """
    if graph.exclusive:
        return [slice(0, images)]
    if not _are_shared_out(graph, images, idle_slots):
        return [slice(start, start + graph.most_images) for start in range(0, max(1, images), graph.most_images)]
    rounds = -(-images // (graph.most_images * idle_slots))
    tickets = min(images, rounds * idle_slots)
    size, larger = divmod(images, tickets)
    ends = [number * size + min(number, larger) for number in range(tickets + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def runs_wide(graph: ServedGraph, images: int, cores: int) -> bool:
    """Return whether so many images, alone in the service, are best run at once on all of its `cores`.

    More images than half the cores are shared out among them instead, which leaves next to nothing idle. Samples that
    mix cannot be.
    """
    return graph.lone_seconds is not None and (graph.exclusive or images <= min(cores // 2, graph.most_images))


def _are_shared_out(graph: ServedGraph, images: int, idle_slots: int) -> bool:
    on_cores = graph.session is None or graph.session.provider == CPU
    long_enough = images * graph.seconds_per_image >= WORTH_SHARING
    return on_cores and idle_slots > 1 and images > 1 and long_enough and not runs_wide(graph, images, idle_slots)
