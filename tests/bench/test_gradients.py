"""The rivals of `make bench-gradients` give the norms of our graphs; a missed target says by how far."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.bundles.networks import small
from bench.gradients import measure
from bench.gradients.measure import CHUNKED, difference, measure_ours, peaks
from bench.gradients.needs import installed
from bench.gradients.rivals.hooks import gradient_norms
from bench.gradients.rivals.rows import BACKWARD, RIVALS
from bench.gradients.runs import Bound, session
from bench.gradients.subject import Derived, Subject, write
from bench.gradients.tables import WRONG, Table, agreement
from bench.gradients.targets import against_targets, misses

NOT_IN_DEV = ("BackPACK BatchL2Grad", "Opacus, normalization frozen")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Derived]:
    subject, derived = write("small", small(), 8, tmp_path_factory.mktemp("subject") / "small")
    return replace(subject, batch=4), derived


def own_norms(subject: Subject) -> np.ndarray:
    bound = Bound(session(subject.graph("weight_norms")), subject.feeds(), "cpu")
    bound()
    return np.sqrt(bound.outputs()["weight_square"].astype(np.float64))


@pytest.mark.parametrize("name", [name for name in RIVALS if name not in NOT_IN_DEV])
@pytest.mark.filterwarnings("ignore")  # the rivals' own
def test_a_rival_gives_the_same_norms_or_none(name: str, written: tuple[Subject, Derived]) -> None:
    subject, _ = written
    norms = RIVALS[name].open(subject)()
    without = name in ("torch forward", BACKWARD, "onnx-ad, input gradient alone")
    assert (norms is None) == without
    if norms is not None:
        assert norms.shape == (4, len(subject.layers))
        assert difference(norms, own_norms(subject)) < 1e-4


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (torch.nn.Conv2d(2, 16, 3, padding=1), 2),  # Gram matrices
        (torch.nn.Conv2d(2, 3, 1, stride=2), 8),  # a product
        (torch.nn.Conv2d(2, 3, 1, padding=1), 8),  # a product, unfolded
        (torch.nn.Conv2d(2, 4, 3, stride=2, padding=1), 7),  # groups
        (torch.nn.Conv2d(4, 4, 3, groups=2, dilation=2), 9),  # groups of groups
    ],
)
def test_every_way_to_a_norm_gives_that_of_the_sample_alone(layer: torch.nn.Conv2d, size: int) -> None:
    layer = layer.double()
    x = torch.randn(3, layer.in_channels, size, size, dtype=torch.float64)
    y = layer(x)
    dy = torch.randn_like(y)
    alone = [torch.autograd.grad(layer(x[n : n + 1]), layer.weight, dy[n : n + 1])[0].norm() for n in range(3)]
    torch.testing.assert_close(gradient_norms(layer, x, dy), torch.stack(alone))


@pytest.mark.parametrize("most", [8, 16])
def test_a_large_batch_of_ours_alone_runs_in_chunks_of_what_the_service_chooses(
    written: tuple[Subject, Derived], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "MOST_IMAGES", most)
    subject, derived = written
    measured = measure_ours(replace(subject, batch=16), derived, 0.0)
    chunks = [run.partition(", in chunks of ") for run in measured.seconds]
    assert {graph for graph, _, _ in chunks} == set(CHUNKED)
    assert all(int(chunk) <= min(8, most) for _, _, chunk in chunks if chunk)
    assert most == 16 or {graph for graph, _, chunk in chunks if chunk} == set(CHUNKED)
    assert "forward" in measured.seconds, "whole"


def table_of(subject: Subject, seconds: dict[str, float], disagreement: dict[str, float] | None = None) -> Table:
    return Table(subject, 1.0, seconds, {}, disagreement or {}, {})


def test_a_missed_target_says_by_how_far(written: tuple[Subject, Derived]) -> None:
    subject = replace(written[0], batch=32)
    times = {"forward": 1.5, "forward, in chunks of 8": 1.0, "activation_norms": 2.2, "weight_norms": 4.5}
    (line,) = misses(table_of(subject, times))
    assert line == "weight_norms of small, 32: 4.50 × the forward run instead of 3.60, 25.0% too slow"
    assert "2.20 reached" in against_targets([table_of(subject, times)])
    assert misses(table_of(subject, times | {"weight_norms, in chunks of 8": 3.5})) == []


def test_targets_are_not_asked_of_a_batch_of_one(written: tuple[Subject, Derived]) -> None:
    times = {"forward": 1.0, "activation_norms": 9.0, "weight_norms": 9.0}
    assert against_targets([table_of(replace(written[0], batch=1), times)]) == ""


def test_wrong_norms_are_called_wrong_and_do_not_count_as_a_rival(written: tuple[Subject, Derived]) -> None:
    assert agreement(2 * WRONG).startswith("**wrong**")
    names = ("torch, hooks", "onnx2torch, hooks")
    measured = table_of(written[0], dict(zip(names, (1.0, 2.0), strict=True)), {names[0]: 0.3, names[1]: 1e-6})
    assert measured.fastest_rival() == names[1]


@pytest.mark.slow
def test_memory_is_measured_of_every_run_that_is_installed(
    written: tuple[Subject, Derived], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large, _ = write("large", small(), 128, tmp_path / "large")
    found = peaks(replace(large, batch=8), written[0])
    assert set(RIVALS) - set(found) <= set(NOT_IN_DEV)
    pixels = 8 * 128 * 128 * 4  # bytes of one channel of the batch
    assert all(peak > 3 * pixels for name, peak in found.items() if "sample by sample" not in name)
    assert found["weight_norms"] > found["forward"]


def test_what_is_installed_is_counted_with_all_that_it_requires() -> None:
    assert {"numpy", "onnxruntime", "protobuf", "flatbuffers"} <= installed.closure(["onnxruntime"])
    assert {"fastapi", "starlette", "onnxruntime"} <= installed.closure(installed.service())
    assert "torch" not in installed.closure(installed.service())
    assert installed.megabytes(["onnxruntime"]) > installed.megabytes(["numpy"]) > 1
