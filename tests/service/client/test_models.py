"""A model in this process and the same model in a service, asked over a socket, give equal answers."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import contraflow as cf
from tests.export.importing.graphs import classifier, saved
from tests.service.live_server import running

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "models" / "bundles" / "resnet20"
PHOTOGRAPHS = ROOT / "tests" / "photographs"
PATHS = [PHOTOGRAPHS / name for name in ("cat.jpg", "dog.webp", "frog.png", "horse-grey.png")]

Ask = Callable[[Any], Any]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bundles")
    for name in ("resnet20", "plain20-sigmoid"):
        (folder / name).symlink_to(BUNDLE.parent / name)
    with running(folder, default_model="resnet20", warm_up=False) as server:
        yield server.url


@pytest.fixture(scope="module")
def local() -> cf.Model:
    return cf.load(BUNDLE, execution_provider="cpu")


@pytest.fixture(scope="module")
def remote(address: str) -> cf.Model:
    return cf.load(address)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path).convert("RGB"))


EQUAL: dict[str, Ask] = {
    "predictions": lambda model: model.predict(PATHS),
    "one image, one label": lambda model: model.predict(PATHS[0], top_k=1),
    "the bytes of a file": lambda model: model.predict([path.read_bytes() for path in PATHS]),
    "a name as text": lambda model: model.predict(str(PATHS[0])),
    "PIL images": lambda model: model.predict([Image.open(path) for path in PATHS]),
    "arrays": lambda model: model.predict([pixels(PATHS[0]), pixels(PATHS[2])]),
    "one array of images": lambda model: model.predict(np.zeros((3, 40, 30, 3), np.uint8)),
    "gradients of the predicted classes": lambda model: model.gradients(PATHS),
    "gradients of classes by name": lambda model: model.gradients(PATHS, ["cat", "dog", "frog", "horse"]),
    "of classes by number": lambda model: model.gradients(PATHS, np.array([3, 5, 6, 7])),
    "of one class": lambda model: model.gradients(PATHS, "ship"),
    "with everything": lambda model: model.gradients(
        PATHS, [3, 5, None, 7], include=["batch_gradient", "activations", "input_gradient"]
    ),
    "judged by another threshold": lambda model: model.gradients(PATHS, thresholds={"largest_size": 1.0}),
    "a verdict": lambda model: model.check(PATHS),
}


@pytest.mark.parametrize("ask", EQUAL.values(), ids=list(EQUAL))
def test_both_give_the_same_answer(ask: Ask, local: cf.Model, remote: cf.Model) -> None:
    def answer(model: cf.Model) -> dict[str, Any]:
        written: dict[str, Any] = ask(model).model_dump(mode="json")
        written.pop("request_id", None)
        return written

    assert answer(local) == answer(remote)


REFUSED: dict[str, Ask] = {
    "a broken file": lambda model: model.predict([PATHS[0], PATHS[0].read_bytes()[:300]]),
    "no picture": lambda model: model.predict(b"plain text"),
    "a class that is not there": lambda model: model.gradients(PATHS, "unicorn"),
    "a number that is not there": lambda model: model.gradients(PATHS, 10),
    "too few labels": lambda model: model.gradients(PATHS, ["cat", "dog"]),
    "a label that is none": lambda model: model.gradients(PATHS, [1.5]),
    "an unknown quantity": lambda model: model.gradients(PATHS, include=["everything"]),
    "an unknown threshold": lambda model: model.check(PATHS, thresholds={"size": 1.0}),
    "a threshold of nothing": lambda model: model.check(PATHS, thresholds={"largest_size": 0.0}),
    "a threshold that is no number": lambda model: model.check(PATHS, thresholds={"largest_size": True}),
    "no labels at all": lambda model: model.predict(PATHS, top_k=0),
    "a file that is not there": lambda model: model.predict("nowhere/cat.jpg"),
    "a folder": lambda model: model.predict(PHOTOGRAPHS),
    "no image": lambda model: model.predict([]),
    "something else": lambda model: model.predict([3]),
    "pixels as floats": lambda model: model.predict(np.zeros((8, 8, 3))),
    "channels first": lambda model: model.predict(np.zeros((3, 8, 8), np.uint8)),
    "deep pixels": lambda model: model.predict(Image.new("I;16", (8, 8))),
}


@pytest.mark.parametrize("ask", REFUSED.values(), ids=list(REFUSED))
def test_both_refuse_with_the_same_words(ask: Ask, local: cf.Model, remote: cf.Model) -> None:
    words = []
    for model in (local, remote):
        with pytest.raises(cf.ContraflowError) as refused:
            ask(model)
        words.append((str(refused.value), refused.value.slug))
    assert words[0] == words[1]
    assert words[0][0].strip()


def test_pixels_count_as_the_file_that_they_come_from(local: cf.Model) -> None:
    path = PHOTOGRAPHS / "frog.png"
    expected = local.predict(path)
    assert local.predict(pixels(path)) == expected
    assert local.predict(Image.open(path)) == expected


def test_a_picture_is_taken_as_it_is_whatever_its_file_said_of_turning(local: cf.Model) -> None:
    turned = Image.open(PHOTOGRAPHS / "ship-exif-rotated.jpg")
    assert local.predict(turned) == local.predict(np.asarray(turned))


def test_gradients_as_a_table(local: cf.Model) -> None:
    measured = local.gradients(PATHS[:2], ["cat", "dog"])
    table = measured.to_pandas()
    assert len(table) == 2 * len(measured.layers)
    second = table[(table["sample"] == 1) & (table["layer"] == measured.layers[3].name)].iloc[0]
    assert second["label"] == "dog"
    assert second["weight_gradient_norm"] == measured.layers[3].weight_gradient_norm[1]
    assert second["loss"] == measured.samples[1].loss
    assert table["bias_gradient_norm"].isna().sum() == 2 * sum(
        layer.bias_gradient_norm is None for layer in measured.layers
    )


def test_it_works_where_an_event_loop_runs_as_in_a_notebook(local: cf.Model) -> None:
    async def cell() -> str:
        return local.check(PATHS).state

    assert asyncio.run(cell()) == "healthy"


def test_a_service_s_other_models_are_named(address: str) -> None:
    for name in ("plain20-sigmoid", "plain20-sigmoid@1"):
        model = cf.load(address + "/", model=name)
        assert (model.name, model.version, len(model.labels)) == ("plain20-sigmoid", "1", 10)
        assert model.gradients(PATHS).model == "plain20-sigmoid"
        assert repr(model) == "<RemoteModel plain20-sigmoid@1, 10 classes>"
    with pytest.raises(cf.ContraflowError, match="no model 'nothing'"):
        cf.load(address, model="nothing")


def test_a_key_is_sent(tmp_path: Path) -> None:
    (tmp_path / "resnet20").symlink_to(BUNDLE)
    digest = "sha256:" + hashlib.sha256(b"my-secret").hexdigest()
    with running(tmp_path, api_keys=(digest,)) as server:
        with pytest.raises(cf.ContraflowError, match="Send a valid key") as refused:
            cf.load(server.url)
        assert refused.value.slug == "unauthorized"
        assert cf.load(server.url, api_key="my-secret").predict(PATHS[1]).predictions[0].labels[0].label == "dog"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "there is no file or folder .*/nowhere"),
        (BUNDLE.parent, r"holds 7 bundles \(plain20, .*; name one"),
        (PHOTOGRAPHS, r"holds neither a bundle nor an \.onnx file"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9 does not answer: Connection refused"),
        ("http://", "http: does not answer"),
    ],
)
def test_what_is_no_model_is_refused_in_words(source: str | Path, words: str) -> None:
    with pytest.raises(cf.ContraflowError, match=words):
        cf.load(source)


def test_a_bare_file_is_imported_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    path = saved(classifier(), tmp_path)
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    flags: dict[str, Any] = {
        "labels": tmp_path / "labels.txt",
        "mean": (0.5, 0.5, 0.5),
        "std": 0.25,
        "letterbox": False,
    }
    model = cf.load(path, name="mynet", **flags)
    assert (model.name, model.labels) == ("mynet", ("ant", "bee", "cat", "dog"))
    assert len(model.gradients(PATHS).layers) == 2
    assert cf.load(path, name="mynet", **flags).predict(PATHS) == model.predict(PATHS)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_flags_of_an_import_are_known_by_name(tmp_path: Path, address: str) -> None:
    with pytest.raises(cf.ContraflowError, match=r"takes no sdt=0\.5; for an import it takes channels, "):
        cf.load(tmp_path / "model.onnx", sdt=0.5)
    with pytest.raises(cf.ContraflowError, match="is a service; mean: for a model that is imported"):
        cf.load(address, mean=0.5)
    with pytest.raises(cf.ContraflowError, match="--mean: flags of one import, but there is nothing to import"):
        cf.load(BUNDLE, mean=0.5)


def test_a_path_takes_no_model_and_no_key() -> None:
    with pytest.raises(cf.ContraflowError, match="are for the address of a service"):
        cf.load(BUNDLE, model="resnet20")


def test_the_import_is_light() -> None:
    code = "import sys, contraflow; print(*({'torch', 'onnx', 'onnxruntime', 'numpy', 'fastapi'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "\n"


@pytest.mark.parametrize(
    ("absent", "code", "advice"),
    [
        ("onnxruntime", "cf.load(BUNDLE)", "onnxruntime is not installed: pip install 'contraflow[cpu]'"),
        ("onnx", "cf.differentiate", "onnx is not installed: pip install 'contraflow[export]'"),
        ("pandas", "cf.load(BUNDLE).gradients(CAT).to_pandas()", "pandas is not installed: pip install pandas"),
    ],
)
def test_what_is_missing_is_named(absent: str, code: str, advice: str) -> None:
    names = f"BUNDLE, CAT = {str(BUNDLE)!r}, {str(PATHS[0])!r}"
    program = f"import sys; sys.modules[{absent!r}] = None; import contraflow as cf; {names}; {code}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith(advice)


def test_a_service_needs_neither_onnxruntime_nor_onnx_on_this_side(address: str) -> None:
    block = "import sys; sys.modules.update(dict.fromkeys(['onnxruntime', 'onnx', 'torch']))"
    program = f"{block}; import contraflow as cf; print(cf.load({address!r}).check({str(PATHS[0])!r}).state)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "healthy\n", done.stderr
