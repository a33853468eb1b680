"""`check NEW --against OLD` on real bundles and photographs: what it counts, what it says, its exit status."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.runtime.opening import Runtime
from service.images.preprocess import decode
from service.offline.model import OfflineModel, finished
from tests.service.offline.against.altered import BUNDLES, PHOTOGRAPHS, RESNET, ROOT, described, labelled_folder, noisy
from tests.service.offline.checked import answer, check


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy(tmp_path_factory.mktemp("worse") / "2", 0.3, version="2")


def predictions(bundle: Path, data: Path) -> dict[str, str]:
    """What a bundle predicts of each image, without the code under test."""
    model = OfflineModel(bundle, Runtime("cpu"))
    files = sorted(data.rglob("*.jpg"))
    pixels = np.stack([decode(file.read_bytes(), model.bundle.input) for file in files])
    logits = finished(model.run("forward", pixels))["logits"]
    return {
        file.relative_to(data).as_posix(): model.bundle.labels[row.argmax()]
        for file, row in zip(files, logits, strict=True)
    }


def test_the_flips_are_those_of_the_predictions(data: Path, worse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = answer(capsys, worse, "--against", RESNET, "--data", data, "--most-negative-flips", "0")
    before, now = predictions(RESNET, data), predictions(worse, data)
    truth = {path: path.partition("/")[0] for path in before}
    negative = {path for path in truth if before[path] == truth[path] != now[path]}
    positive = {path for path in truth if now[path] == truth[path] != before[path]}
    assert negative
    assert status == found["exit_status"] == 1
    assert found["flips"]["images"] == len(truth) == 20
    assert found["flips"]["negative"]["count"] == len(negative)
    assert found["flips"]["positive"]["count"] == len(positive)
    assert found["flips"]["accuracy_before"]["count"] == sum(before[path] == truth[path] for path in truth)
    assert found["disagreements"]["count"] == sum(before[path] != now[path] for path in truth)
    assert {one["path"] for one in found["worst"]} == negative
    increases = [one["loss_increase"] for one in found["worst"]]
    assert increases == sorted(increases, reverse=True)
    by_label = {one["label"]: one["negative"]["count"] for one in found["by_label"]}
    assert {label: sum(truth[path] == label for path in negative) for label in by_label} == by_label
    assert [limit["state"] for limit in found["limits"]] == ["broken", "kept"]
    assert f"{len(negative)} of 20 images" in found["limits"][0]["because"]
    assert "95 % interval" in found["limits"][0]["because"]


@pytest.mark.parametrize(
    "name", ["resnet20", "plain20", pytest.param("plain20-sigmoid", marks=pytest.mark.slow), "plain56-relu-exploding"]
)
def test_a_bundle_against_itself_has_no_flips_and_no_moved_layer(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(BUNDLES / name, tmp_path / "copy")
    strict = ("--most-disagreements", "0", "--most-moved-layers", "0", "--most-ece-increase", "0%")
    status, found = answer(capsys, copy, "--against", BUNDLES / name, "--data", data, *strict)
    assert status == 0
    assert found["disagreements"]["count"] == found["flips"]["negative"]["count"] == 0
    assert not any(layer["moved"] for layer in found["moved"])
    assert all(layer["decades"] == 0 for layer in found["moved"])
    assert found["calibration"]["change"] == {"value": 0, "low": 0, "high": 0}
    assert found["flips"]["mcnemar"] == {"p_value": 1, "method": "exact"}


def test_findings_of_the_new_version_alone_break_a_limit_unasked(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sick, healthy = BUNDLES / "plain20-sigmoid", BUNDLES / "plain20"
    status, found = answer(capsys, sick, "--against", healthy, "--data", data)
    assert status == 1
    assert [limit["name"] for limit in found["limits"] if limit["state"] == "broken"] == ["most-new-findings"]
    assert found["old"]["verdict"]["state"] == "healthy"
    assert found["new"]["verdict"]["state"] == "vanishing"
    status, found = answer(capsys, healthy, "--against", sick, "--data", data)
    assert status == 0, "fewer findings are no finding"
    status, _ = answer(capsys, sick, "--against", healthy, "--data", data, "--most-new-findings", "9")
    assert status == 0


def test_labels_are_matched_by_name(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A version whose last label is called otherwise: trucks count for nothing, all else as before."""

    def without_trucks(document: dict[str, Any]) -> None:
        document["labels"][9] = "lorry"

    status, found = answer(capsys, described(tmp_path / "new", without_trucks), "--against", RESNET, "--data", data)
    assert status == 0
    assert found["images"]["label_of_old_alone"] == 2
    assert found["flips"]["images"] == 18
    assert found["flips"]["negative"]["count"] == 0
    assert found["disagreements"]["count"] == sum(one == "truck" for one in predictions(RESNET, data).values())
    assert "Only the old version has 1 label: 'truck'." in found["notes"]
    assert "Only the new version has 1 label: 'lorry'." in found["notes"]


def test_another_order_of_the_labels_is_seen_through(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def backwards(document: dict[str, Any]) -> None:
        document["labels"].reverse()

    new = described(tmp_path / "new", backwards)
    _, found = answer(capsys, new, "--against", RESNET, "--data", data)
    expected = predictions(new, data)
    assert found["flips"]["accuracy_now"]["count"] == sum(one == path.split("/")[0] for path, one in expected.items())
    assert any("matched by name" in note for note in found["notes"])


def test_images_without_labels_are_counted_as_disagreements(
    data: Path, worse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (worse, "--against", RESNET, "--data", data, "--unlabelled")
    status, found = answer(capsys, *words, "--most-disagreements", "1")
    before, now = predictions(RESNET, data), predictions(worse, data)
    assert found["flips"] is None
    assert found["by_label"] == found["worst"] == []
    assert found["disagreements"]["count"] == sum(before[path] != now[path] for path in before) > 1
    assert status == 1
    status, found = answer(capsys, *words, "--most-negative-flips", "0.5%")
    assert status == 1, "what could not be measured is no success"
    assert found["limits"][0]["state"] == "not measured"
    assert "no image has a label" in found["limits"][0]["because"]


def test_undecodable_files_count_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = labelled_folder(tmp_path / "data")
    (data / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    _, found = answer(capsys, RESNET, "--against", BUNDLES / "plain20", "--data", data)
    assert (found["images"]["images"], found["images"]["undecodable"]) == (21, 1)
    assert found["flips"]["images"] == 20


def test_every_report_has_the_format_of_its_name(
    data: Path, worse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"found.{ending}" for ending in ("md", "xml", "json", "html")]
    reports = [word for file in files for word in ("--report", file)]
    assert check(worse, "--against", RESNET, "--data", data, "--most-negative-flips", "0", *reports) == 1
    said = capsys.readouterr().out
    assert said.startswith("resnet20@2 against resnet20@1: limits are broken: negative flips.")
    markdown, junit, document, page = (file.read_text() for file in files)
    found = json.loads(document)
    assert markdown.startswith("### Contraflow: resnet20@2 against resnet20@1")
    assert "**broken**" in markdown
    assert "<details><summary>Images that were right and are wrong now</summary>" in markdown
    assert 'failures="1" errors="0"' in junit
    assert page.count("data:image/jpeg;base64,") == len(found["worst"]) > 0
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_shards_make_the_table_of_one_run(
    data: Path, worse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (worse, "--against", RESNET, "--data", data)
    whole, merged = tmp_path / "whole.csv", tmp_path / "merged.csv"
    _, one_run = answer(capsys, *words, "--table", whole)
    parts = [tmp_path / f"part{number}.csv" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        assert check(*words, "--table", part, "--shard", f"{number}/3") == 0
        assert capsys.readouterr().out == f"{part}\n"
    _, joined = answer(capsys, *words, "--table", merged, "--merge", *parts)

    def answers(table: Path) -> list[tuple[str, str, str]]:
        return [(row["path"], row["old_predicted"], row["new_predicted"]) for row in rows_of(table)]

    assert answers(whole) == answers(merged)
    # Numbers of runs of other sizes may differ in their last digits.
    for name in ("flips", "by_label", "disagreements", "changed", "images"):
        assert one_run[name] == joined[name]
    assert check(*words, "--merge", parts[1], parts[0], parts[2]) == 2
    assert "in the order of the shards" in capsys.readouterr().err
    half = tmp_path / "half.csv"
    half.write_bytes(b"".join(parts[1].read_bytes().splitlines(keepends=True)[:-1]))
    for incomplete in (parts[1:], parts[:2], [parts[0], parts[2]], [parts[0], half, parts[2]]):
        assert check(*words, "--merge", *incomplete) == 2
        assert "should come: a part is missing, or was not finished" in capsys.readouterr().err


@pytest.mark.slow
def test_a_table_that_was_cut_off_is_continued(
    data: Path, worse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, table = (worse, "--against", RESNET, "--data", data), tmp_path / "table.csv"
    _, first = answer(capsys, *words, "--table", table)
    whole = table.read_bytes()
    lines = whole.splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:5]) + lines[5][:7])
    _, second = answer(capsys, *words, "--table", table)
    assert [line.split(b",")[:4] for line in table.read_bytes().splitlines()] == [
        line.split(b",")[:4] for line in whole.splitlines()
    ]
    assert first["flips"] == second["flips"]


@pytest.mark.parametrize("ending", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGINT])
def test_a_run_that_was_ended_leaves_whole_rows_and_goes_on(
    ending: signal.Signals, data: Path, worse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = tmp_path / "many"
    for number in range(60):
        for file in sorted(data.rglob("*.jpg")):
            (many / file.parent.name).mkdir(parents=True, exist_ok=True)
            (many / file.parent.name / f"{file.stem}-{number:02}.jpg").hardlink_to(file)
    table = tmp_path / "table.csv"
    words: tuple[str | Path, ...] = (
        worse,
        "--against",
        RESNET,
        "--data",
        many,
        "--table",
        table,
        "--layer-images",
        "4",
    )
    command = [sys.executable, "-m", "service", "check", *map(str, words)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (table.exists() and table.read_bytes().count(b"\n") > 33) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(ending)
    _, errors = process.communicate(timeout=60)
    if ending == signal.SIGINT and process.returncode != 0:
        assert process.returncode == 130
        assert errors.rstrip().endswith("error: interrupted")
        assert "Traceback" not in errors
    done = table.read_bytes().count(b"\n") - 1
    assert done >= 32
    status, found = answer(capsys, *words)
    assert status == 0
    assert [row["path"] for row in rows_of(table)] == sorted(
        path.relative_to(many).as_posix() for path in many.rglob("*.jpg")
    )
    assert found["images"]["images"] == 1200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "gone"], "--data gone: no such folder"),
        ([], "--against needs --data FOLDER"),
        (["--data", "{data}", "--format", "sarif"], "there is no sarif of a check against another version"),
        (["--data", "{data}", "--shard", "1/2"], "--shard measures a part into --table FILE.csv"),
        (["--data", "{data}", "--table", "gone/t.csv"], "there is no folder gone"),
        (["--data", "{data}", "--report", "gone/r.md"], "there is no folder gone"),
        (["--data", "{empty}"], "there is no image in it"),
        (["--data", "{photographs}"], "no image has a label of either version"),
        (["--data", "{data}", "--table", "{other}"], "is no table of `check --against`; take another --table"),
    ],
)
def test_what_cannot_be_used_is_said_in_words(
    words: list[str], said: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    places = {"data": data, "empty": tmp_path / "empty", "photographs": PHOTOGRAPHS, "other": tmp_path / "other.csv"}
    assert check(RESNET, "--against", RESNET, *(word.format(**places) for word in words)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]


@pytest.mark.parametrize("limit", ["--most-negative-flips=0.5", "--most-accuracy-loss=3", "--most-moved-layers=1%"])
def test_a_limit_that_is_none_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        check(RESNET, "--against", RESNET, limit)
    assert refused.value.code == 2
    assert "is needed" in capsys.readouterr().err


def test_an_old_version_that_is_none_is_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(RESNET, "--against", tmp_path / "gone.onnx", "--data", data) == 2
    assert "gone.onnx" in capsys.readouterr().err
    broken = shutil.copytree(RESNET, tmp_path / "broken")
    (broken / "weights.bin").write_bytes(b"")
    assert check(RESNET, "--against", broken, "--data", data) == 2
    assert "weights.bin was changed" in capsys.readouterr().err


def test_a_table_of_other_versions_is_not_continued(
    data: Path, worse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    assert check(worse, "--against", RESNET, "--data", data, "--table", table) == 0
    assert check(RESNET, "--against", worse, "--data", data, "--table", table) == 2
    assert "was measured with another old version" in capsys.readouterr().err


def test_one_new_version_is_checked_at_a_time(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(RESNET, BUNDLES / "plain20", "--against", RESNET, "--data", data) == 2
    assert "--against compares one new version with an old one; 2 are named" in capsys.readouterr().err


def test_flags_of_two_versions_need_a_second_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(RESNET, "--most-negative-flips", "1%") == 2
    assert "name the old one by --against" in capsys.readouterr().err
    assert check(RESNET, "--layer-images", "8") == 2
    assert "--layer-images compares two versions" in capsys.readouterr().err
    assert check(RESNET, "--format", "html") == 2
    assert "there is no html of a check of one version" in capsys.readouterr().err
