"""The measurements on a GPU run on a CPU too; their rows are kept, go on where they ended, and fail alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench.gpu import running
from bench.gpu.__main__ import main
from bench.gpu.graphs import SERVED, Plan
from bench.gpu.nets import GRAPHS, names, net
from bench.gpu.numbers.agreement import agreement, errors
from bench.gpu.numbers.tables import section
from bench.gpu.numbers.truth import Truth
from bench.gpu.part import Part, Row, Setting, attempt
from bench.gpu.results import OtherMachine, Results
from bench.gpu.sessions import Fixed, opened
from bench.gradients.choices import choices_of, watched
from bench.harness.paths import DOCS, ROOT, SHIPPED

SETTING = Setting(seconds=60.0, device="cpu", small=True, bundles=SHIPPED)
A_CARD = {
    "device": "cuda",
    "cpu": "some cores",
    "onnxruntime": "1",
    "torch": "2",
    "card": "a card",
    "memory_gib": 80,
    "compute_capability": "9.0",
    "driver": "1",
    "cuda": "13",
    "cudnn": "9",
}


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "bench.gpu", *(str(argument) for argument in arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


def keys(file: Path) -> list[str]:
    return [row["key"] for row in Results(file).rows()]


@pytest.mark.parametrize("part", ["graphs", "replays", "ratios"])
def test_a_part_runs_on_a_cpu(part: str, tmp_path: Path) -> None:
    running.measure_here(part, SETTING, tmp_path, {"cpu": "any"})
    results = Results(tmp_path / f"{part}.jsonl")
    rows = results.rows()
    assert rows
    assert not [row for row in rows if row.get("error") or row.get("reasons")]
    assert results.complete
    assert "resnet20" in running.part_named(part).section(rows)


def test_a_small_run_prints_what_it_measured_and_leaves_the_page_alone(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    page.write_text((DOCS / "reports" / "gpu.md").read_text(encoding="utf-8"), encoding="utf-8")
    done = command("--small", "--parts", "replays", "--out", tmp_path, "--page", page, "--seconds", "120")
    assert done.returncode == 0, done.stderr[-2000:]
    assert Results(tmp_path / "replays.jsonl").complete
    assert "| resnet20 | forward | 1 | plain |" in done.stdout
    assert page.read_text(encoding="utf-8") == (DOCS / "reports" / "gpu.md").read_text(encoding="utf-8")


def test_a_part_that_is_complete_is_not_measured_again(tmp_path: Path) -> None:
    results = Results(tmp_path / "replays.jsonl")
    results.append({"complete": True})
    running.measure_apart("replays", 60.0, tmp_path, ["--small", "--bundles", str(SHIPPED)])
    assert list(results.lines()) == [{"complete": True}]


def test_a_row_that_fails_is_kept_and_the_next_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(setting: Setting) -> Iterator[Row]:
        yield from attempt(setting, "first", lambda: {"value": 1 // 0})
        yield from attempt(setting, "second", lambda: {"value": 2})

    monkeypatch.setattr(running, "part_named", lambda name: Part(name, measure, lambda rows: ""))
    running.measure_here("tried", SETTING, tmp_path, {"cpu": "any"})
    first, second = Results(tmp_path / "tried.jsonl").rows()
    assert first["error"].startswith("ZeroDivisionError")
    assert second["value"] == 2


def test_a_run_that_was_stopped_goes_on_with_the_rows_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def row(key: str) -> Row:
        measured.append(key)
        return {"value": len(measured)}

    def measure(setting: Setting) -> Iterator[Row]:
        for key in ("first", "second", "third"):
            yield from attempt(setting, key, partial(row, key))

    monkeypatch.setattr(running, "part_named", lambda name: Part(name, measure, lambda rows: ""))
    results = Results(tmp_path / "tried.jsonl")
    running.measure_here("tried", replace(SETTING, seconds=0.0), tmp_path, {"cpu": "any"})
    assert (measured, results.complete) == (["first"], False)
    assert "after first" in str(results.stopped)
    with results.file.open("a") as file:
        file.write('{"key": "second", "cut')  # the machine went away while it wrote
    running.measure_here("tried", SETTING, tmp_path, {"cpu": "any"})
    assert measured == ["first", "second", "third"]
    assert keys(results.file) == measured
    assert json.loads(results.file.read_text().splitlines()[-1]) == {"complete": True}


@pytest.mark.parametrize(
    ("part", "missing"),
    [("replays", "option/resnet20/forward/CUDA graph"), ("graphs", "option/resnet20/weight_norms/channels last")],
)
def test_a_run_that_goes_on_after_the_plain_row_still_compares_with_it(part: str, missing: str) -> None:
    planned = {*Plan(SETTING).rows(), "option/resnet20/forward/plain"}
    [row] = running.part_named(part).measure(replace(SETTING, done=frozenset(planned - {missing})))
    assert row["key"] == missing
    assert {size: found["difference"] for size, found in row["sizes"].items()} == {"1": 0.0, "2": 0.0}


def test_rows_of_another_machine_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "part_named", lambda name: Part(name, lambda setting: iter(()), lambda rows: ""))
    running.measure_here("tried", SETTING, tmp_path, {"card": "one"})
    with pytest.raises(OtherMachine, match="another --out"):
        running.measure_here("tried", SETTING, tmp_path, {"card": "another"})


def page_of_rows(folder: Path, monkeypatch: pytest.MonkeyPatch, *further: str) -> str:
    """Return what the command writes into a page that says nothing yet, from the rows in `folder`."""
    page = folder / "gpu.md"
    page.write_text("<!-- begin: make bench-gpu -->\n<!-- end: make bench-gpu -->\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["bench.gpu", "--from", str(folder), "--page", str(page), *further])
    assert main() == 0
    return page.read_text(encoding="utf-8")


def test_a_page_keeps_the_parts_that_are_not_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("graphs", "ratios"):
        Results(tmp_path / f"{part}.jsonl").begin(A_CARD)
    written = page_of_rows(tmp_path, monkeypatch, "--parts", "ratios")
    assert written.count("Measured on one a card") == 2
    assert [f"### {part}" in written for part in running.SHARES] == [True] * len(running.SHARES)


@pytest.mark.parametrize("devices", [{"ratios": "cpu"}, {"graphs": "cuda", "ratios": "cpu"}, {}])
def test_rows_of_a_cpu_do_not_reach_the_page(
    devices: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, device in devices.items():
        Results(tmp_path / f"{part}.jsonl").begin({**A_CARD, "device": device})
    assert len(page_of_rows(tmp_path, monkeypatch).splitlines()) == 2


def test_the_page_is_written_from_rows_of_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(tmp_path / "graphs.jsonl")
    results.begin(A_CARD)
    errors_of = {
        "same": {"logits": {"largest": 1e-3, "entry": 1.0}},
        "free": {"logits": {"largest": 2e-3, "entry": 1.0}},
    }
    results.append(
        {"key": "agreement/a/forward", "net": "a", "graph": "forward", "float32": errors_of, "tf32": errors_of}
    )
    results.append({"key": "option/a/forward/plain", "error": "RuntimeError: no"})
    results.append({"stopped": "its 9 s were over"})
    written = page_of_rows(tmp_path, monkeypatch)
    assert "Measured on one a card" in written
    assert "| a | forward | 1e-03 | 2e-03 |" in written
    assert "- RuntimeError: no: `option/a/forward/plain`" in written
    assert "its 9 s were over" in written
    assert written.count("Not measured yet.") == 4


def test_a_run_that_was_cut_off_is_said_so_and_one_that_is_complete_is_not(tmp_path: Path) -> None:
    results = Results(tmp_path / "graphs.jsonl")
    results.begin({"device": "cpu"})
    assert results.stopped == "the run was cut off"
    results.append({"complete": True})
    assert results.stopped is None


def test_rows_of_a_net_stand_together_whenever_they_were_measured() -> None:
    measured = [("b", "forward"), ("a", "forward"), ("b", "activations")]
    written = section([{"key": f"agreement/{net}/{graph}", "net": net, "graph": graph} for net, graph in measured])
    lines = [line.split(" | ")[:2] for line in written.splitlines()[-3:]]
    assert lines == [["| b", "forward"], ["| b", "activations"], ["| a", "forward"]]


def test_every_net_is_judged_before_any_option_is_tried() -> None:
    keys = list(Plan(replace(SETTING, small=False)).rows())
    first_option = min(place for place, key in enumerate(keys) if key.startswith("option/"))
    judged = {key.removesuffix("/weight_norms") for key in keys[:first_option] if key.endswith("/weight_norms")}
    assert {f"agreement/{name}" for name in (*SERVED, *names(SHIPPED))} <= judged


def test_a_part_whose_process_dies_says_so(tmp_path: Path) -> None:
    running.measure_apart("graphs", 5.0, tmp_path, ["--bundles", str(tmp_path), "--no-such-option"])
    assert Results(tmp_path / "graphs.jsonl").stopped == "its process ended with status 2"


def test_what_a_part_takes_too_long_is_taken_from_those_that_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on by as much as a part takes; `messages` has no time left, and is not begun."""
    clock, granted = [0.0], {}
    takes = {"graphs": 28.0, "replays": 20.0, "ratios": 4.0, "serving": 60.0}

    def take(name: str, seconds: float, out: Path, arguments: Sequence[str]) -> None:
        granted[name] = seconds
        clock[0] += takes[name]

    monkeypatch.setattr(running, "measure_apart", take)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    running.measure_all(list(running.SHARES), 100.0, tmp_path, [])
    assert granted == pytest.approx({"graphs": 28.0, "replays": 8.0, "ratios": 52 * 14 / 64, "serving": 48 * 0.6})
    assert Results(tmp_path / "messages.jsonl").stopped == "no time was left for it"


def test_a_part_ends_with_the_command_that_started_it(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = [sys.executable, "-m", "bench.gpu", "--small", "--parts", "graphs", "--out", str(tmp_path), "--print"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert "graphs: defaults" in started.stdout.readline()
        parts = psutil.Process(started.pid).children(recursive=True)
        assert parts
        assert list(scratch.glob("tmp*"))
        started.terminate()
        assert started.wait(20) == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(parts, timeout=5)
    assert not alive
    assert not list(scratch.glob("tmp*"))


@pytest.mark.parametrize("graph", GRAPHS)
def test_float64_agrees_with_the_runtime_on_every_graph(graph: str) -> None:
    row = agreement(net("resnet20", SHIPPED), graph, 2, "cpu")
    assert max(error["largest"] for error in row["float32"]["same"].values()) < 2e-6
    assert row["finite float32"]


def test_a_rectifier_that_is_held_on_its_other_side_changes_the_norms() -> None:
    """The choices are taken from the judged run: were they ignored, every such unit would count as an error."""
    one = net("resnet20", SHIPPED)
    model, feeds = one.models["weight_norms"], one.feeds("weight_norms", 1)
    session = opened(watched(model), "cpu")
    names = [value.name for value in session.get_outputs()]
    choices = dict(choices_of(model, dict(zip(names, session.run(names, dict(feeds)), strict=True))))
    truth = Truth(model, "cpu")
    own, same = truth.run(feeds), truth.run(feeds, choices)
    assert max(error["largest"] for error in errors(own, same).values()) < 1e-6
    first = next(iter(choices))
    held = truth.run(feeds, choices | {first: np.zeros_like(choices[first])})
    assert errors(held, own)["weight_square"]["largest"] > 0.1


def test_a_bound_run_gives_what_a_plain_run_gives() -> None:
    one = net("resnet20", SHIPPED)
    session, feeds = opened(one.models["weight_norms"], "cpu"), one.feeds("weight_norms", 2)
    fixed = Fixed(session, feeds, "cpu", cuda_graph=1)
    fixed()
    for value, name in zip(session.run(fixed.names, dict(feeds)), fixed.names, strict=True):
        np.testing.assert_array_equal(fixed.outputs()[name], value)


def test_the_first_images_are_the_same_in_every_batch() -> None:
    one = net("resnet20", SHIPPED)
    np.testing.assert_array_equal(one.feeds("forward", 1)["input"], one.feeds("forward", 3)["input"][:1])
