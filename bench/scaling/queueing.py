"""A queueing model of a replica that batches whatever waits, and the number of replicas that a load needs.

The service takes all images that wait, up to a largest batch, whenever a run slot is free
(`service/engine/scheduler.py`). With Poisson arrivals and a run of b images that takes a fixed time T(b), the
number left waiting when a run ends is a Markov chain: its next value depends on the present one alone.
`expected` solves that chain for one run slot; `simulate` plays any number of slots and replicas, image by
image. Nothing here is fitted: both take T(b), which `bench.scaling.comparison` measures.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Overloaded(Exception):
    """Raised where more images arrive than can be served, so that the wait has no finite mean."""


@dataclass(frozen=True)
class RunTime:
    """Seconds of a run of b images: `setup` + b × `per_image`, for b up to `largest`."""

    setup: float
    per_image: float
    largest: int

    def seconds(self, images: int) -> float:
        return self.setup + images * self.per_image

    @property
    def capacity(self) -> float:
        """Return images per second of one slot that always runs the largest batch."""
        return self.largest / self.seconds(self.largest)


@dataclass(frozen=True)
class Expectation:
    """Means over a long time at one slot; `latency` is the seconds from arrival to the end of the run."""

    latency: float
    batch: float
    utilization: float


def expected(rate: float, run: RunTime) -> Expectation:
    """Return the exact means for one slot that `rate` images per second reach (Poisson), by the chain of run ends.

    A cycle begins when a run ends with n images waiting. n = 0: the slot idles 1/rate, then runs the one
    image that came. Otherwise it runs b = min(n, largest). Poisson(rate · T(b)) arrive meanwhile. Little's
    law turns the images present, integrated over a cycle, into the latency. The chain is cut where what
    is cut off is below 1e-9 of the probability.

    Raises:
        Overloaded: `rate` is the capacity or above.
    """
    if rate >= run.capacity:
        raise Overloaded(f"{rate:.1f} images/s arrive, {run.capacity:.1f} can be served")
    states, cut_off = 4 * run.largest + 64, 1.0
    while cut_off >= 1e-9:
        transition, duration, present, batch = _cycles(rate, run, states)
        stationary = _stationary(transition)
        cut_off = stationary[-max(1, states // 8) :].sum()
        states *= 2
    cycle = float(stationary @ duration)
    idle = float(stationary[0]) / rate
    return Expectation(
        latency=float(stationary @ present) / cycle / rate,
        batch=float(stationary @ batch),
        utilization=1 - idle / cycle,
    )


def _cycles(rate: float, run: RunTime, states: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return for each state n where the chain goes [n, n'], the cycle's seconds, image-seconds present, and batch."""
    waiting = np.arange(states)
    batch = np.clip(waiting, 1, run.largest).astype(np.float64)
    seconds = run.setup + batch * run.per_image
    idle = np.where(waiting == 0, 1 / rate, 0.0)
    at_start = np.maximum(waiting, 1)
    present = at_start * seconds + rate * seconds**2 / 2
    transition = np.zeros((states, states))
    for state in waiting:
        left = int(at_start[state] - batch[state])
        transition[state, left:] = _poisson(rate * seconds[state], states - left)
        transition[state, -1] += max(0.0, 1 - transition[state].sum())
    return transition, idle + seconds, present, batch


def _poisson(mean: float, terms: int) -> Floats:
    """Return the probabilities of 0 … terms − 1 arrivals."""
    order = np.arange(terms)
    logarithms: Floats = order * np.log(mean) - mean - np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, terms)))])
    return np.exp(logarithms)


def _stationary(transition: Floats) -> Floats:
    """Return π with π P = π and Σ π = 1; the redundant last equation is replaced by the sum."""
    equations = transition.T - np.eye(len(transition))
    equations[-1] = 1
    return np.linalg.solve(equations, np.eye(len(transition))[-1]).astype(np.float64)


def simulate(
    rate: float,
    run: RunTime,
    *,
    slots: int = 1,
    replicas: int = 1,
    dispatch: Literal["random", "round robin"] = "random",
    images: int = 100_000,
    seed: int = 0,
) -> Floats:
    """Return each image's latency in seconds, in order of arrival, without the first tenth, which starts from empty.

    `rate` is that of all replicas together. An idle slot leaves its part of what waits to the other
    idle slots, as the service does.
    """
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / rate, images))
    chosen = random.integers(0, replicas, images) if dispatch == "random" else np.arange(images) % replicas
    latency = np.empty(images)
    for replica in range(replicas):
        mine = np.flatnonzero(chosen == replica)
        latency[mine] = _replica_latency(arrivals[mine], run, slots)
    return latency[images // 10 :]


def _replica_latency(arrivals: Floats, run: RunTime, slots: int) -> Floats:
    """Return the latency of each arrival at one replica; ends of runs and arrivals are played in order of time."""
    latency = np.empty(len(arrivals))
    waiting: deque[int] = deque()
    ends: list[float] = []
    idle, coming = slots, 0
    while coming < len(arrivals) or ends:
        if ends and (coming == len(arrivals) or ends[0] <= arrivals[coming]):
            now = heapq.heappop(ends)
            idle += 1
        else:
            now = float(arrivals[coming])
            waiting.append(coming)
            coming += 1
        while idle and waiting:
            drawn = min(run.largest, -(-len(waiting) // idle))
            end = now + run.seconds(drawn)
            for _ in range(drawn):
                image = waiting.popleft()
                latency[image] = end - arrivals[image]
            heapq.heappush(ends, end)
            idle -= 1
    return latency


def highest_load(run: RunTime, slots: int, deadline: float, quantile: float = 0.99, images: int = 40_000) -> float:
    """Return the largest share of a replica's capacity at which `quantile` of the images meet `deadline` (seconds).

    It is found by halving to 1 %, in the simulation, and 0.0 if even an idle replica is too slow.
    """
    capacity = slots * run.capacity
    low, high = 0.0, 1.0
    while high - low > 0.01:
        middle = (low + high) / 2
        latency = simulate(middle * capacity, run, slots=slots, images=images)
        low, high = (middle, high) if np.quantile(latency, quantile) <= deadline else (low, middle)
    return low


@dataclass(frozen=True)
class Plan:
    """Replicas for one load, spread over `zones`, that still meet the deadline when one zone is lost."""

    replicas: int
    remaining: int
    load_then: float
    """Share of the remaining replicas' capacity in use when the largest zone is lost."""


def plan(rate: float, capacity: float, load: float, zones: int) -> Plan:
    """Return the fewest replicas of `capacity` images/s such that the loss of a zone leaves each at most at `load`.

    Replicas are spread as evenly as they can be, and the largest zone is lost.
    """
    needed = max(1, int(np.ceil(rate / (capacity * load) - 1e-9)))
    replicas = needed
    while replicas - -(-replicas // zones) < needed:
        replicas += 1
    remaining = replicas - -(-replicas // zones)
    return Plan(replicas, remaining, rate / (remaining * capacity))
