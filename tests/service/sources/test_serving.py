"""`python -m service PATH…` on whatever there is: imported, kept, followed, and served beside each other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
import pytest

from service.sources.kinds import SourceError
from service.sources.opening import open_sources
from tests.export.importing.folders.producers import folder_with
from tests.export.importing.graphs import SIZE
from tests.service.live_server import best_label, picture, wait_until
from tests.service.sources.served_process import (
    LABELS,
    ServedProcess,
    begin,
    constant_winner,
    import_flags,
    served,
    write_model,
)
from tests.service.tiny_bundles import write_bundle

RED = picture("red")


def predicted(server: ServedProcess, model: str = "") -> str:
    return best_label(server.client.post("/predict", params={"model": model} if model else {}, content=RED))


def test_a_bare_file_is_imported_followed_and_kept(tmp_path: Path) -> None:
    model, cache, flags = tmp_path / "net.onnx", tmp_path / "cache", import_flags(tmp_path)
    write_model(model, winner=1)
    with served(cache, model, *flags) as server:
        assert predicted(server) == "bee"
        first = server.digests()
        assert server.said(f"{model}: importing")
        assert server.said(f"{model}: imported from net.onnx")

        write_model(model, winner=2)
        wait_until(lambda: server.digests() != first)
        assert predicted(server) == "cat"
        second = server.digests()

        model.write_bytes(model.read_bytes()[:-100])
        wait_until(lambda: server.models()["refused"])
        assert "truncated or damaged" in server.models()["refused"][str(model)]
        assert (predicted(server), server.digests()) == ("cat", second)
        assert server.client.get("/health/ready").status_code == 200
        assert server.said(f"{model} is refused: truncated or damaged")

        imports = sum("importing" in line for line in server.lines)
        write_model(model, winner=1)
        wait_until(lambda: server.models()["refused"] == {})
        assert (predicted(server), server.digests()) == ("bee", first)
        assert sum("importing" in line for line in server.lines) == imports  # the cache had it

        model.unlink()
        wait_until(lambda: server.models()["unavailable"])
        assert server.models()["unavailable"] == {str(model): "No such file or directory"}
        assert predicted(server) == "bee"

    write_model(model, winner=2)
    with served(cache, model, *flags) as server:
        assert (predicted(server), server.digests()) == ("cat", second)
        assert not server.said("importing", within=0.5)
    assert len(os.listdir(cache)) == 2


def test_paths_of_different_kinds_are_served_at_once(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    write_bundle(folder, "in-a-folder")
    write_bundle(folder, "twice")
    write_bundle(other, "twice", bias=(0.0, 0.0, 100.0))
    single = write_bundle(tmp_path / "elsewhere", "single")
    write_bundle(tmp_path / "elsewhere", "not-named")
    write_bundle(tmp_path / "elsewhere", "versions", version="1")
    write_bundle(tmp_path / "elsewhere", "versions", version="2", bias=(0.0, 0.0, 100.0))
    model = write_model(tmp_path / "net.onnx", winner=3)
    paths = (folder, other, single, single.parent / "versions", model)
    with served(tmp_path / "cache", *paths, *import_flags(tmp_path)) as server:
        assert set(server.digests()) == {
            "in-a-folder@1", "net@1", "single@1", "twice@1", "versions@1", "versions@2"
        }  # fmt: skip
        labels = {name: predicted(server, name) for name in ("in-a-folder", "net", "single", "twice", "versions")}
        assert labels == {"in-a-folder": "red", "net": "dog", "single": "red", "twice": "red", "versions": "blue"}
        twice = f"twice version 1 is there twice, first in {folder}/twice; import one anew under another --name"
        assert server.models()["refused"] == {f"{other}/twice": twice}
        assert server.said(f"bundle {other}/twice is refused: {twice}")

        other.rename(tmp_path / "away")  # an error of one source is none of the others'
        write_bundle(folder, "new")
        wait_until(lambda: "new@1" in server.digests())
        assert server.models()["unavailable"] == {str(other): "No such file or directory"}
        answer = server.client.post("/predict", params={"model": "unknown"}, content=RED)
        assert (answer.status_code, str(other) in answer.json()["detail"]) == (503, True)


def test_folders_of_models_are_served_without_a_flag_and_followed(tmp_path: Path) -> None:
    described = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": SIZE, "width": SIZE}}
    described |= {"image_processor_type": "ViTImageProcessor"}
    config = {"id2label": dict(enumerate(LABELS))}
    model = constant_winner(1)
    hub = folder_with(
        tmp_path / "insects",
        {"config.json": config, "preprocessor_config.json": described},
        model,
        at="onnx/model.onnx",
    )
    triton = tmp_path / "repository" / "densenet"
    files = {"config.json": config, "preprocessor_config.json": described}
    for version, winner in (("1", 2), ("3", 3)):
        folder_with(triton, files, constant_winner(winner), at=f"{version}/model.onnx")
    with served(tmp_path / "cache", hub, triton) as server:
        assert set(server.digests()) == {"insects@1", "densenet@1", "densenet@3"}
        answers = {name: predicted(server, name) for name in ("insects", "densenet", "densenet@1")}
        assert answers == {"insects": "bee", "densenet": "dog", "densenet@1": "cat"}

        (hub / "config.json").write_text(json.dumps({"id2label": dict(enumerate(("a", "b", "c", "d")))}))
        wait_until(lambda: predicted(server, "insects") == "b")

        (hub / "preprocessor_config.json").write_text("{")
        wait_until(lambda: server.models()["refused"])
        assert list(server.models()["refused"]) == [str(hub)]
        assert predicted(server, "insects") == "b"


def test_files_that_are_called_alike_are_named_by_their_folders_and_that_is_said(tmp_path: Path) -> None:
    described = {"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_0_1"}
    files = [tmp_path / place / "model.onnx" for place in ("pets", "flowers", "elsewhere/pets")]
    for winner, file in enumerate(files):
        model = constant_winner(winner)
        onnx.helper.set_model_props(model, described)
        file.parent.mkdir(parents=True)
        onnx.save(model, file)
    for _ in ("imported", "kept"):
        with served(tmp_path / "cache", *files) as server:
            assert set(server.digests()) == {"pets@1", "flowers@1"}
            assert {name: predicted(server, name) for name in ("pets", "flowers")} == {"pets": "0", "flowers": "1"}
            for file, name in zip(files, ("pets", "flowers", "pets"), strict=True):
                assert server.said(f"{file} is called {name}")
            twice = f"pets version 1 is there twice, first in {files[0]}; import one anew under another --name"
            assert server.models()["refused"] == {str(files[2]): twice}


def test_flags_hold_for_every_file(tmp_path: Path) -> None:
    files = [write_model(tmp_path / name, winner=winner) for winner, name in enumerate(("a.onnx", "b.onnx"))]
    with served(tmp_path / "cache", *files, *import_flags(tmp_path)) as server:
        assert {name: predicted(server, name) for name in ("a", "b")} == {"a": "ant", "b": "bee"}


def test_two_services_that_start_at_once_share_the_cache(tmp_path: Path) -> None:
    model, cache, flags = write_model(tmp_path / "net.onnx"), tmp_path / "cache", import_flags(tmp_path)
    with begin(cache, model, *flags) as one, begin(cache, model, *flags) as other:
        servers = ServedProcess(one), ServedProcess(other)
        assert [predicted(server) for server in servers] == ["ant", "ant"]
        for server in servers:
            server.end()
    assert len(os.listdir(cache)) == 1


def test_a_model_that_is_refused_keeps_no_other_from_being_served(tmp_path: Path) -> None:
    bundle, broken = write_bundle(tmp_path), tmp_path / "broken.onnx"
    broken.write_bytes(b"")
    with served(tmp_path / "cache", bundle, broken, *import_flags(tmp_path)) as server:
        assert predicted(server) == "red"
        refused = {str(broken): "not an ONNX model: it seems to be an empty file"}
        assert server.models()["refused"] == refused
        answer = server.client.post("/predict", params={"model": "broken"}, content=RED)
        assert (answer.status_code, "an empty file" in answer.json()["detail"]) == (404, True)
        write_model(broken, winner=1)
        wait_until(lambda: server.models()["refused"] == {})
        assert predicted(server, "broken") == "bee"


def test_a_start_whose_only_model_is_refused_ends_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    with begin(tmp_path / "cache", tmp_path / "empty.onnx", *import_flags(tmp_path)) as process:
        assert process.stderr is not None
        importing, error = process.stderr.read().splitlines()
    assert process.returncode == 2
    assert importing.endswith(f"{tmp_path}/empty.onnx: importing")
    assert error == f"error: {tmp_path}/empty.onnx: not an ONNX model: it seems to be an empty file"


@pytest.mark.parametrize(
    ("paths", "flags", "words"),
    [
        (["tiny", "a.onnx", "b.onnx"], ["--name=c"], "--name: flags of one import, but there are 2 to import"),
        (["a.onnx", "folder"], ["--mean=0"], "--mean: flags of one import, but there are 2 to import"),
        (["tiny"], ["--mean=0", "--std=1"], "--mean, --std: flags of one import, but there is nothing to import"),
        (["tiny", "gone"], [], "there is no file or folder"),
    ],
    ids=["a name for two", "flags for a folder too", "flags of none", "nothing there"],
)
def test_what_is_not_clear_or_not_there_is_said_before_anything_is_imported(
    tmp_path: Path, paths: list[str], flags: list[str], words: str
) -> None:
    write_bundle(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("a.onnx", "b.onnx", "folder/model.onnx"):
        (tmp_path / name).write_bytes(b"")
    said: list[str] = []
    with pytest.raises(SourceError, match=words):
        open_sources([tmp_path / path for path in paths], flags, tmp_path / "cache", said.append)
    assert said == []
