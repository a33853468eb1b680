"""`python -m service check` and `diagnose`, on a shipped bundle and a small labelled folder."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.bundles.disk import read_bundle
from service.contract.runtime import Runtime
from service.offline import check, diagnose, report
from service.offline.model import OfflineModel
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


def test_the_report_names_the_wrong_label_and_the_broken_file(folder: Path) -> None:
    assert run(folder, "report.html") == 0
    page = (folder / "report.html").read_text()
    suspects = page.split("<h2>Suspected label errors</h2>")[1].split("<h2>")[0]
    assert "ship/truck.jpg" in suspects
    assert "1 could not be decoded" in page
    assert 'src="http' not in page


def test_the_report_counts_what_each_class_is_taken_for(folder: Path) -> None:
    assert run(folder, "report.html") == 0
    classes = (folder / "report.html").read_text().split("<h2>Classes</h2>")[1].split("<h2>")[0]
    assert "<td>ship</td><td>2</td><td>50.0%</td><td>truck 1</td>" in classes
    assert "The largest class has 2 times the images" in classes


def test_thumbnails_show_what_the_model_sees(tmp_path: Path) -> None:
    spec = read_bundle(BUNDLE).bundle.input
    photograph = (ROOT / "tests" / "photographs" / "cat.jpg").read_bytes()
    (tmp_path / "whole.jpg").write_bytes(photograph)
    (tmp_path / "without_end.jpg").write_bytes(photograph[:-2])
    assert report.thumbnail(tmp_path / "without_end.jpg", spec) == report.thumbnail(tmp_path / "whole.jpg", spec) != ""
    Image.fromarray(np.full((90, 100), 100 * 257, np.uint16)).save(tmp_path / "grey16.png")
    encoded = report.thumbnail(tmp_path / "grey16.png", spec).partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as small:
        assert small.size == (64, 58)
        assert np.abs(np.asarray(small).astype(int) - 100).max() <= 2
    assert report.thumbnail(tmp_path / "missing.png", spec) == ""


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


def test_the_parts_of_shards_merge_into_the_same_report(folder: Path) -> None:
    assert run(folder, "one.html") == 0
    parts = [str(folder / f"part{part}.csv") for part in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        assert run(folder, Path(part).name, "--shard", f"{number}/3") == 0
    assert run(folder, "merged.html", "--merge", *parts) == 0
    paths = [
        [line.split(",")[0] for line in (folder / name).read_text().splitlines()] for name in ("one.csv", "merged.csv")
    ]
    assert paths[0] == paths[1]


def test_a_table_of_another_folder_is_not_continued(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "report.csv") == 0
    (folder / "data" / "bird" / "aaa.jpg").write_bytes((folder / "data" / "bird" / "bird.jpg").read_bytes())
    assert run(folder, "report.csv") == 2
    assert "another folder" in capsys.readouterr().err


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


def test_a_healthy_bundle_passes_the_check_and_a_vanishing_one_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(BUNDLE), "--images", "4"]) == 0
    assert "healthy" in capsys.readouterr().out
    assert check.main([str(BUNDLE.parent / "plain20-sigmoid"), "--images", "4"]) == 1
    assert "vanishing" in capsys.readouterr().out


def test_a_finding_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    sick = BUNDLE.parent / "plain20-sigmoid"
    assert check.main([str(sick), "--images", "4", "--threshold", "deviation_ratio=1.01"]) == 1
    head, decay, deviation, meaning, advice, itself = capsys.readouterr().out.splitlines()
    assert head.endswith(": vanishing, on 4 images of samples")
    assert decay.startswith("  vanishing: Back from the last layers to the first, the gradient shrinks tenfold every ")
    assert decay.endswith(" (vanishing from 1/30 down), in 16 layers from stem to stages.2.1.conv1.")
    assert deviation.startswith("  imbalanced: In ")
    assert meaning.startswith("  The first layers get almost no gradient.")
    assert advice.endswith(" (docs/verdicts#vanishing)")
    assert itself.startswith("  like itself: ")


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
    assert first.out.startswith("net@1 (")
    assert check.main([str(model), "--images", "2", *flags]) in (0, 1)
    assert capsys.readouterr() == (first.out, "")
    table = tmp_path / "report.csv"
    assert diagnose.main(["--bundle", str(model), "--data", str(PICTURES), "--out", str(table), *flags]) == 0
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
