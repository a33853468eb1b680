"""How the images of one request are cut into tickets, which are what run slots take."""

from __future__ import annotations

from itertools import pairwise

from service.bundles.served_model import ServedGraph
from service.contract.runtime.provider import CPU

WORTH_SHARING = 0.003
"""Seconds of work, on one core, from which it is shared out: waking a second slot takes its time too."""


def cut(graph: ServedGraph, images: int, idle_slots: int, *, alone: bool, layer: int | None = None) -> list[slice]:
    """Return which images each ticket has, none more than the graph's most.

    Images that cores are idle for are shared out evenly among them; else every run is as full as it can be. A graph in
    which samples mix is never cut. `alone` says that every slot of the service is idle; `layer` is where the runs end.
    """
    if images == 1 or graph.exclusive:
        return [slice(0, images)]
    is_one_run = not shares_out(graph) or (alone and runs_wide(graph, images))
    if is_one_run or not _is_worth_sharing(graph.seconds_at(layer), images, idle_slots):
        return [slice(start, start + graph.most_images) for start in range(0, max(1, images), graph.most_images)]
    rounds = -(-images // (graph.most_images * idle_slots))
    tickets = min(images, rounds * idle_slots)
    size, larger = divmod(images, tickets)
    ends = [number * size + min(number, larger) for number in range(tickets + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def runs_wide(graph: ServedGraph, images: int) -> bool:
    """Return whether so many images, alone in the service, are best run at once on several threads.

    More images than half the threads are shared out among cores instead, which leaves next to nothing idle. Samples
    that mix cannot be.
    """
    wide = graph.wide
    return wide is not None and (graph.exclusive or images <= min(wide.threads // 2, graph.most_images))


def shares_out(graph: ServedGraph) -> bool:
    """Return whether several runs side by side are faster than one: on cores, but not on a GPU."""
    return graph.session is None or graph.session.provider == CPU


def _is_worth_sharing(seconds_per_image: float, images: int, idle_slots: int) -> bool:
    return idle_slots > 1 and images > 1 and images * seconds_per_image >= WORTH_SHARING
