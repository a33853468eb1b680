"""Models of independent labels over HTTP: /predict, every diagnosis, the open protocol, live sampling, the report."""

from __future__ import annotations

import base64
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.importing.command import import_bundle
from service.contract.bundle_schema import InputSpec
from service.images.preprocess import normalise
from service.offline import check
from service.offline import diagnose as offline_diagnose
from tests.export.importing.answer.endings import READ_OFF, Ending
from tests.export.importing.answer.references import session
from tests.export.importing.graphs import node, options, saved
from tests.picture_files import png
from tests.service.live_server import LiveServer, running
from tests.service.responses import refusal

LABELS = ("ant", "bee", "cat", "big, red dog")
ENDING = Ending([node("Sigmoid", ["scores"], ["out"])])
SPEC = InputSpec(height=6, width=6, mean=options().mean, std=options().std)
PIXELS = np.random.default_rng(4).integers(0, 256, (6, 6, 3), dtype=np.uint8)
TENSOR = normalise(PIXELS[None], SPEC)

Array = NDArray[Any]


def in_base64() -> str:
    return base64.b64encode(png(PIXELS)).decode()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("independent")
    labels = {"labels": LABELS}
    import_bundle(saved(ENDING.model(), folder), "several", options(**labels), folder / "bundles")
    import_bundle(saved(ENDING.model(400), folder), "certain", options(**labels), folder / "bundles")
    import_bundle(saved(READ_OFF["softmax"].model(), folder), "one-class", options(**labels), folder / "bundles")
    return folder / "bundles"


@pytest.fixture(scope="module")
def server(bundles: Path) -> Iterator[LiveServer]:
    with running(bundles, default_model="several", sample_gradients=1.0) as server:
        yield server


@pytest.fixture(scope="module")
def own() -> Array:
    """The file's own probabilities of the picture."""
    found: Array = session(ENDING.model()).run(["out"], {"image": TENSOR})[0][0].astype(np.float64)
    return found


def post(server: LiveServer, path: str, **body: Any) -> Any:
    with server.client() as client:
        answer = client.post(path, **(body or {"content": png(PIXELS)}))
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(server: LiveServer, path: str, **body: Any) -> str:
    with server.client() as client:
        return refusal(client.post(path, **(body or {"content": png(PIXELS)})), 422)


def binary_cross_entropy(own: Array, applies: Array) -> float:
    return float(-np.log(np.where(applies == 1, own, 1 - own)).sum())


def applying(*names: str) -> Array:
    return np.array([label in names for label in LABELS], dtype=np.int64)


def test_predict_ranks_each_label_s_own_probability_and_names_those_above_one_half(
    server: LiveServer, own: Array
) -> None:
    (prediction,) = post(server, "/predict?top_k=2")["predictions"]
    order = np.argsort(-own)
    assert [entry["index"] for entry in prediction["labels"]] == order[:2].tolist()
    assert [entry["probability"] for entry in prediction["labels"]] == pytest.approx(own[order[:2]], rel=1e-5)
    expected = [LABELS[index] for index in order if own[index] > 0.5]
    assert 0 < len(expected) < len(LABELS)
    assert prediction["predicted"] == expected
    assert "predicted" not in post(server, "/predict?model=one-class")["predictions"][0]


def test_the_model_says_which_kind_its_labels_are(server: LiveServer) -> None:
    with server.client() as client:
        assert client.get("/models/several").json()["label_kind"] == "independent"
        assert client.get("/models/one-class").json()["label_kind"] == "exclusive"


WAYS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "repeated": ("&label=ant&label=cat", {}, ("ant", "cat")),
    "with a comma": ("&label=ant,cat", {}, ("ant", "cat")),
    "by number": ("&label=0,2", {}, ("ant", "cat")),
    "one": ("&label=cat", {}, ("cat",)),
    "a name that has a comma": ("&label=big, red dog", {}, ("big, red dog",)),
    "a list": ("", {"label": ["ant", 2]}, ("ant", "cat")),
    "an empty list": ("", {"label": []}, ()),
    "a list beside the image": ("", {"images": [{"label": ["ant", "cat"]}]}, ("ant", "cat")),
    "an empty list beside the image": ("", {"images": [{"label": []}]}, ()),
    "a list of each image": ("", {"labels": [["cat", "big, red dog"]]}, ("cat", "big, red dog")),
}


def body_with(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON body with these fields, and the picture in every image; without fields, the picture itself."""
    if not fields:
        return {"content": png(PIXELS)}
    images = [{"data": in_base64(), **image} for image in fields.get("images", [{}])]
    return {"json": {**fields, "images": images}}


@pytest.mark.parametrize("way", WAYS)
def test_a_set_of_labels_is_given_in_every_way(server: LiveServer, own: Array, way: str) -> None:
    query, fields, names = WAYS[way]
    sample = post(server, f"/diagnostics/gradients?model=several{query}", **body_with(fields))["samples"][0]
    assert sample["labels"] == [label for label in LABELS if label in names]
    assert sample["loss"] == pytest.approx(binary_cross_entropy(own, applying(*names)), rel=1e-5)
    assert sample["probabilities"] == pytest.approx(own[applying(*names) == 1], rel=1e-5)


@pytest.mark.parametrize(("model", "given", "expected"), [("several", "cat", [[0, 1], [2]]), ("one-class", 2, [0, 2])])
def test_what_is_said_beside_an_image_counts_and_label_is_for_the_others(
    server: LiveServer, model: str, given: str | int, expected: list[Any]
) -> None:
    own: Any = ["ant", "bee"] if model == "several" else 0
    images = [{"data": in_base64(), "label": own}, {"data": in_base64()}]
    path = f"/diagnostics/gradients?model={model}&label={given}"
    samples = post(server, path, json={"images": images})["samples"]
    assert [sample.get("indices", sample.get("index")) for sample in samples] == expected


def test_a_form_gives_the_set_of_all_images_or_one_for_each(server: LiveServer) -> None:
    files = [("images", (f"{at}.png", png(PIXELS), "image/png")) for at in range(2)]
    both = post(server, "/diagnostics/gradients", files=files, data={"label": ["ant", "cat"]})["samples"]
    assert [sample["labels"] for sample in both] == [["ant", "cat"]] * 2
    each = post(server, "/diagnostics/gradients", files=files, data={"labels": ["ant,cat", "bee"]})["samples"]
    assert [sample["labels"] for sample in each] == [["ant", "cat"], ["bee"]]


def test_without_labels_the_loss_is_of_those_above_one_half(server: LiveServer, own: Array) -> None:
    answer = post(server, "/diagnostics/gradients")
    (sample,) = answer["samples"]
    assert sample["labels"] == sample["predicted_labels"] == [LABELS[at] for at in np.flatnonzero(own > 0.5)]
    assert sample["loss"] == pytest.approx(binary_cross_entropy(own, (own > 0.5).astype(int)), rel=1e-5)
    assert {layer["name"] for layer in answer["layers"]} == {"conv", "head"}


def test_a_saturated_image_is_judged_with_one_label_turned_over(server: LiveServer) -> None:
    """All logits are beyond ±88: float32 holds no gradient of the predicted labels."""
    answer = post(server, "/diagnostics/gradients?model=certain")
    (sample,) = answer["samples"]
    assert sample["saturated"]
    assert all(layer["weight_gradient_norm"] == [0.0] for layer in answer["layers"])
    assert "saturated" not in answer["verdict"]["because"]
    others = [label for label in LABELS if label not in sample["labels"]]
    turned = post(server, "/diagnostics/gradients?model=certain", json={"images": [in_base64()], "label": others})
    assert turned["samples"][0]["logit_gradient_norm"] == pytest.approx(2.0)


REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "an unknown label": ("several", "&label=cow", {}, "no label 'cow'"),
    "an unknown label in a set": ("several", "&label=cat,cow", {}, "no label 'cow'"),
    "a number that is too large": ("several", "&label=9", {}, "0 to 3"),
    "a set for exclusive classes": ("one-class", "", {"images": [{"label": ["ant", "cat"]}]}, "exclude each other"),
    "two for one image": ("one-class", "&label=ant&label=cat", {}, "exclude each other"),
    "a comma for exclusive classes": ("one-class", "&label=ant,cat", {}, "exclude each other"),
    "sets of another number of images": ("several", "", {"labels": [["ant"], ["bee"]]}, "are independent"),
    "not a label": ("several", "", {"label": [{"ant": 1}]}, "index or a name"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_the_model_does_not_take_is_refused_in_a_sentence_that_says_its_kind(
    server: LiveServer, fault: str
) -> None:
    model, query, fields, words = REFUSED[fault]
    assert words in refused(server, f"/diagnostics/gradients?model={model}{query}", **body_with(fields))


def test_scores_are_those_of_independent_labels(server: LiveServer, own: Array) -> None:
    answer = post(server, "/diagnostics/scores?label=ant,cat")
    (sample,) = answer["samples"]
    applies = applying("ant", "cat")
    logits = np.log(own / (1 - own))
    assert sample["energy"] == pytest.approx(np.log1p(np.exp(logits)).sum(), rel=1e-4)
    assert sample["el2n"] == pytest.approx(np.linalg.norm(own - applies), rel=1e-5)
    assert sample["probability"] == pytest.approx(np.exp(-binary_cross_entropy(own, applies)), rel=1e-5)
    assert sample["max_probability"] == pytest.approx(own.max(), rel=1e-6)
    layers = post(server, "/diagnostics/gradients?label=ant,cat")["layers"]
    norms = [layer["weight_gradient_norm"][0] for layer in layers]
    assert sample["grand"] == pytest.approx(np.linalg.norm(norms), rel=1e-6)
    assert not {"margin", "gradnorm"} & sample.keys()
    assert any("margin and gradnorm are left out" in note for note in answer["notes"])


def test_shattering_keeps_one_set_of_labels_along_the_path(server: LiveServer, own: Array) -> None:
    answer = post(server, "/diagnostics/shattering?points=16&label=ant,cat")
    assert answer["labels"] == ["ant", "cat"]
    assert answer["label"] is None
    expected = np.exp(-binary_cross_entropy(own, applying("ant", "cat")))
    assert answer["probability"][0] == pytest.approx(expected, rel=1e-5)


def test_features_name_the_labels_that_are_seen(server: LiveServer, own: Array) -> None:
    (sample,) = post(server, "/diagnostics/features?label=cat")["samples"]
    assert sample["predicted_indices"] == np.flatnonzero(own > 0.5).tolist()
    assert sample["saliency"]["norm"] > 0


def test_models_of_one_kind_are_compared_and_others_are_not(server: LiveServer) -> None:
    found = post(server, "/diagnostics/compare?model=several&model=certain&label=cat")
    assert [model["samples"][0]["labels"] for model in found["models"]] == [["cat"]] * 2
    words = refused(server, "/diagnostics/compare?model=several&model=one-class")
    assert "several has independent labels" in words
    assert "one-class has classes that exclude each other" in words


@pytest.mark.parametrize("diagnosis", ["gradients", "scores", "shattering", "features", "compare"])
def test_every_diagnosis_is_drawn(server: LiveServer, diagnosis: str) -> None:
    more = "&model=several&model=certain" if diagnosis == "compare" else ""
    with server.client() as client:
        answer = client.post(f"/diagnostics/{diagnosis}?format=svg{more}", content=png(PIXELS))
    assert answer.status_code == 200, answer.text
    assert "<svg" in answer.text


def infer(server: LiveServer, label: list[Any] | None, shape: list[int], **more: Any) -> tuple[int, Any]:
    inputs: list[dict[str, Any]] = [
        {"name": "input", "datatype": "FP32", "shape": list(TENSOR.shape), "data": TENSOR.ravel().tolist()}
    ]
    if label is not None:
        inputs.append({"name": "label", "datatype": "INT64", "shape": shape, "data": label})
    with server.client() as client:
        answer = client.post("/v2/models/several/infer", json={"inputs": inputs, **more})
    return answer.status_code, answer.json()


def output(answer: Any, name: str) -> list[Any]:
    found: list[Any] = next(one["data"] for one in answer["outputs"] if one["name"] == name)
    return found


def test_the_open_protocol_takes_a_row_of_labels_for_each_image(server: LiveServer, own: Array) -> None:
    wanted = [{"name": "weight_gradient_norm"}, {"name": "probabilities"}]
    status, answer = infer(server, [1, 0, 1, 0], [1, 4], outputs=wanted)
    assert status == 200, answer
    layers = post(server, "/diagnostics/gradients?label=ant,cat")["layers"]
    expected = [layer["weight_gradient_norm"][0] for layer in layers]
    assert output(answer, "weight_gradient_norm") == pytest.approx(expected, rel=1e-6)
    assert output(answer, "probabilities") == pytest.approx(own, rel=1e-5)
    _, unlabelled = infer(server, None, [], outputs=wanted)
    _, predicted = infer(server, [-1] * 4, [1, 4], outputs=wanted)
    assert output(unlabelled, "weight_gradient_norm") == output(predicted, "weight_gradient_norm")


@pytest.mark.parametrize(
    ("label", "shape", "words"),
    [
        ([2], [1], "1 (applies), 0 (does not) or −1"),
        ([1, 0, 2, 0], [1, 4], "1 (applies), 0 (does not) or −1"),
        ([1, 0, 1, 0] * 2, [2, 4], "one row for each of the 1 images"),
    ],
)
def test_the_open_protocol_refuses_other_labels(
    server: LiveServer, label: list[int], shape: list[int], words: str
) -> None:
    status, answer = infer(server, label, shape, parameters={"gradients": True})
    assert status == 400
    assert words in answer["error"]


def test_the_open_protocol_ranks_labels_and_describes_the_tensor(server: LiveServer, own: Array) -> None:
    _, answer = infer(server, None, [], outputs=[{"name": "probabilities", "parameters": {"classification": 2}}])
    best = int(np.argmax(own))
    assert output(answer, "probabilities")[0].endswith(f":{best}:{LABELS[best]}")
    with server.client() as client:
        inputs = client.get("/v2/models/several/config").json()["input"]
    assert next(one for one in inputs if one["name"] == "label")["dims"] == [4]


def test_live_sampling_measures_such_a_model(server: LiveServer) -> None:
    for _ in range(40):
        post(server, "/predict")
        with server.client() as client:
            text = client.get("/metrics").text
        lines = [line for line in text.splitlines() if 'outcome="measured"' in line and 'model="several' in line]
        if any(float(line.rsplit(" ", 1)[1]) > 0 for line in lines):
            return
        time.sleep(0.05)
    raise AssertionError("no image was measured")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two labels with two pictures each, and one picture without a label."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(7)
    for label in ("ant", "cat", "unknown"):
        (folder / label).mkdir()
        for at in range(2 if label != "unknown" else 1):
            (folder / label / f"{at}.png").write_bytes(png(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)))
    return folder


def test_check_and_diagnose_take_a_folder_s_name_for_one_label_that_applies(
    bundles: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(bundles / "several"), "--data", str(pictures)]) in (0, 1)
    assert "Looked at: 5 images of" in capsys.readouterr().out
    report = tmp_path / "report.html"
    arguments = ["--bundle", str(bundles / "several"), "--data", str(pictures), "--out", str(report)]
    assert offline_diagnose.main(arguments) == 0
    with report.with_suffix(".csv").open(newline="") as stream:
        table = {row["path"]: row for row in csv.DictReader(stream)}
    for path, row in table.items():
        tensor = normalise(np.asarray(Image.open(pictures / path))[None], SPEC)
        own = session(ENDING.model()).run(["out"], {"image": tensor})[0][0].astype(np.float64)
        expected = {LABELS[at] for at in np.flatnonzero(own > 0.5)}
        assert set(filter(None, row["predicted"].split(" | "))) == expected
        if row["label"]:  # the probability is of what the folder says, the loss is of all labels
            place = LABELS.index(row["label"])
            assert float(row["probability"]) == pytest.approx(own[place], rel=1e-4)
            applies = (own > 0.5).astype(int)
            applies[place] = 1
            assert float(row["loss"]) == pytest.approx(binary_cross_entropy(own, applies), rel=1e-4)
        assert not row["margin"]
    text = report.read_text()
    assert "<h2>Labels found (recall)</h2>" in text
    assert "1 without: the name of their folder is no label (unknown)." in text
    assert "Confusion matrix" not in text
