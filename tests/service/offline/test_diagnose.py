"""`python -m service check` and `diagnose`, on a shipped bundle and a small labelled folder."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.contract.dead_channels import alive_channels
from service.contract.runtime.opening import Runtime
from service.offline import check, diagnose
from service.offline.living_channels import LivingChannels
from service.offline.model import OfflineModel, decoded, finished, labelled_files
from tests.service.sources.served_process import import_flags, write_model

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "models" / "bundles" / "resnet20"
PICTURES = ROOT / "service" / "static" / "samples"
NAMES = ("cat", "dog", "ship", "truck", "bird", "horse")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photographs, the truck among the ships, and one broken file."""
    for name in NAMES:
        label = "ship" if name == "truck" else name
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / "photographs" / f"{name}.jpg", tmp_path / "data" / label / f"{name}.jpg")
    (tmp_path / "data" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    return tmp_path


def run(folder: Path, out: str, *more: str) -> int:
    arguments = ["--bundle", str(BUNDLE), "--data", str(folder / "data"), "--out", str(folder / out), *more]
    return diagnose.main(arguments)


def test_a_run_that_was_cut_off_goes_on_where_it_was(folder: Path) -> None:
    assert run(folder, "whole.csv") == 0
    whole = (folder / "whole.csv").read_bytes()
    lines = whole.splitlines(keepends=True)
    (folder / "cut.csv").write_bytes(b"".join(lines[:3]) + lines[3][:10])
    assert run(folder, "cut.csv") == 0
    assert [line.split(b",")[0] for line in (folder / "cut.csv").read_bytes().splitlines()] == [
        line.split(b",")[0] for line in whole.splitlines()
    ]
    before = (folder / "cut.csv").read_bytes()
    assert run(folder, "cut.csv") == 0
    assert (folder / "cut.csv").read_bytes() == before


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_shards_merge_into_the_table_of_one_run_with_the_same_living_channels(folder: Path) -> None:
    assert run(folder, "one.csv") == 0
    parts = [str(folder / f"part{part}.csv") for part in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        assert run(folder, Path(part).name, "--shard", f"{number}/3") == 0
    assert run(folder, "merged.html", "--merge", *parts) == 0
    one, merged = read(folder, "one.csv"), read(folder, "merged.csv")
    assert [row["path"] for row in one] == [row["path"] for row in merged]
    model = OfflineModel(BUNDLE, Runtime("cpu"))
    files = [file for file in labelled_files(folder / "data", ()) if not file.path.endswith("broken.jpg")]
    pixels = [one for one in decoded(folder / "data", files, model) if isinstance(one, np.ndarray)]
    peaks = finished(model.run("activations", np.stack(pixels)))["channel_peak"]
    expected = alive_channels(peaks).any(axis=0)
    assert 0 < expected.sum() < expected.size
    for table in (one, merged):
        living = LivingChannels(model.bundle)
        for row in table:
            living.take(row["first_alive"])
        assert (living.alive == expected).all()


def test_parts_that_are_named_twice_or_out_of_order_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [str(folder / f"part{part}.csv") for part in (1, 2)]
    for number, part in enumerate(parts, 1):
        assert run(folder, Path(part).name, "--shard", f"{number}/2") == 0
    for wrong in ([parts[1], parts[0]], [parts[0], parts[0]]):
        assert run(folder, "merged.csv", "--merge", *wrong) == 2
        assert "name each part once, in the order of the shards" in capsys.readouterr().err
        assert not (folder / "merged.csv").exists()


def test_a_table_of_another_folder_is_not_continued(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "report.csv") == 0
    (folder / "data" / "bird" / "aaa.jpg").write_bytes((folder / "data" / "bird" / "bird.jpg").read_bytes())
    assert run(folder, "report.csv") == 2
    assert "another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda row: row | {"bundle": "0123456789ab"}, "was measured with another bundle (0123456789ab, not "),
        (lambda row: row | {"label": "truck"}, "has other labels"),
        (lambda row: {key: row[key] for key in row if key not in ("bundle", "first_alive")}, "by an earlier version"),
        (lambda row: row | {"r:another": "1"}, "is the table of another model"),
    ],
    ids=["bundle", "labels", "earlier version", "model"],
)
def test_a_table_that_is_no_beginning_of_this_one_is_refused_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str], spoilt: Callable[[dict[str, str]], dict[str, str]], said: str
) -> None:
    assert run(folder, "report.csv", "--shard", "1/4") == 0
    changed = [spoilt(row) for row in read(folder, "report.csv")]
    with (folder / "report.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(changed[0]))
        writer.writeheader()
        writer.writerows(changed)
    before = (folder / "report.csv").read_bytes()
    assert run(folder, "report.csv") == 2
    assert said in capsys.readouterr().err
    assert (folder / "report.csv").read_bytes() == before


def test_a_folder_without_any_label_is_an_error_that_says_what_was_seen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in (folder / "data").iterdir():
        label.rename(label.with_name(label.name.upper()))
    assert run(folder, "report.html") == 2
    said = capsys.readouterr().err
    assert "no image has a label of resnet20. The images lie in folders called 'BIRD', 'CAT', 'DOG', 'HORSE', " in said
    assert "the model's labels are 'airplane', 'automobile', 'bird', 'cat', 'deer' and 5 more" in said
    assert "say --unlabelled" in said
    assert not (folder / "report.csv").exists()
    assert run(folder, "report.html", "--unlabelled") == 0
    page = (folder / "report.html").read_text()
    assert "No image has a label." in page
    assert "Accuracy and wrong labels were not looked for" in page
    assert "Suspected label errors" not in page


def test_images_in_no_folder_and_with_a_strange_name_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    name = os.fsdecode(b"<b>\xff&\n.jpg")
    shutil.copy(ROOT / "tests" / "photographs" / "cat.jpg", tmp_path / "data" / name)
    assert run(tmp_path, "report.html") == 2
    assert "The images lie in no folder of their own" in capsys.readouterr().err
    for _ in range(2):
        assert run(tmp_path, "report.html", "--unlabelled") == 0
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;\\xff&amp;\\n.jpg" in page


def test_a_bundle_that_is_replaced_during_the_run_is_an_error_in_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(BUNDLE, folder / "resnet20")

    def replaced_after_opening(directory: Path, runtime: Runtime) -> OfflineModel:
        model = OfflineModel(directory, runtime)
        (copy / "reference.npz").write_bytes(b"those of the next bundle")
        return model

    monkeypatch.setattr(diagnose, "OfflineModel", replaced_after_opening)
    assert run(folder, "report.csv", "--bundle", str(copy)) == 2
    assert capsys.readouterr().err.strip().endswith("The bundle of resnet20 is being replaced.")


def test_a_threshold_of_ones_own_decides_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(BUNDLE), "--images", "4", "--threshold", "largest_size=1"]) == 1
    assert "exploding from 1 times" in capsys.readouterr().out
    assert check.main([str(BUNDLE), "--images", "4", "--threshold", "nonsense=1"]) == 2
    assert "growth_ratio" in capsys.readouterr().err


def test_what_is_no_bundle_is_an_error_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(tmp_path)]) == 2
    assert (
        f"{tmp_path} is an empty folder: name an .onnx file, the folder of a model, or a bundle"
        in capsys.readouterr().err
    )


def test_a_bare_file_is_imported_before_it_is_judged_and_only_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    model, flags = write_model(tmp_path / "net.onnx"), import_flags(tmp_path)
    assert check.main([str(model), "--images", "2", *flags]) in (0, 1)
    first = capsys.readouterr()
    assert first.err.startswith(f"{model}: importing\n")
    assert f"{model}: imported from net.onnx" in first.err
    assert first.out.startswith("net@1: healthy, as far as was looked. ")
    assert check.main([str(model), "--images", "2", *flags]) in (0, 1)
    assert capsys.readouterr() == (first.out, "")
    table = tmp_path / "report.csv"
    assert (
        diagnose.main(["--bundle", str(model), "--data", str(PICTURES), "--unlabelled", "--out", str(table), *flags])
        == 0
    )
    assert len(table.read_text().splitlines()) == 1 + len(list(PICTURES.glob("*.jpg")))


def test_a_file_that_cannot_be_imported_is_an_error_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    model = write_model(tmp_path / "net.onnx")
    model.write_bytes(model.read_bytes()[:-100])
    assert check.main([str(model), *import_flags(tmp_path)]) == 2
    output = capsys.readouterr()
    said, error = output.err.splitlines()
    assert (output.out, said) == ("", f"{model}: importing")
    assert error.startswith(f"error: {model}: truncated or damaged")


def test_flags_of_an_import_are_for_an_import(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(BUNDLE), "--mean", "0"]) == 2
    assert "--mean: flags of one import, but there is nothing to import" in capsys.readouterr().err


def test_a_report_is_a_table_or_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another ending would be replaced by .csv, and another file written than the one that was named."""
    with pytest.raises(SystemExit):
        diagnose.main(["--bundle", str(BUNDLE), "--data", str(tmp_path), "--out", str(tmp_path / "o.txt")])
    assert "o.txt': a name that ends in .csv or .html is needed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
