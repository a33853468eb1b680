"""Inputs with one more axis of size 1: the bundle takes plain images and answers as the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

from export.graph.errors import UnsupportedGraph
from export.importing import import_classifier
from tests.export.gradient.rules.runner import runtime
from tests.export.importing.graphs import SIZE, body, classifier, images, node, options, saved

INSIDE = np.array([-1, 3, SIZE, SIZE])


def unpacked(output: str = "scores") -> list[NodeProto]:
    """The usual body behind a Reshape to four axes; its scores are called `output`."""
    nodes = body()
    nodes[0].input[0] = "plain"
    nodes[-1].output[0] = output
    return [node("Reshape", ["image", "inside"], ["plain"]), *nodes]


@pytest.mark.parametrize("opset", [11, 20])
@pytest.mark.parametrize(
    "shape",
    [("N", 1, 3, SIZE, SIZE), (1, "N", 3, SIZE, SIZE), (1, 1, 3, SIZE, SIZE), ("N", 3, 1, SIZE, SIZE)],
    ids=["a clip of one", "one bag", "fixed", "one frame"],
)
def test_the_axis_is_put_in_by_the_graph(shape: tuple[int | str, ...], opset: int, tmp_path: Path) -> None:
    model = classifier(unpacked(), image=shape, constants={"inside": INSIDE}, opset=opset)
    imported = import_classifier(saved(model, tmp_path), options())
    assert (imported.input.height, imported.input.width, imported.input.channels) == (SIZE, SIZE, 3)
    assert any("of size 1, is put in by the graph" in note for note in imported.notes)
    batch = images(1)
    wide = batch.reshape([1 if size == "N" else int(size) for size in shape])
    (own,) = runtime(model).run(None, {"image": wide})
    (found,) = runtime(imported.model).run(None, {"input": batch})
    np.testing.assert_allclose(found, own, rtol=1e-5)
    assert runtime(imported.model).run(None, {"input": images(3)})[0].shape == (3, 4)


@pytest.mark.parametrize("target", [[-1, 1, 4], [1, -1, 4], [1, 1, -1, 1, 4]], ids=str)
def test_scores_may_have_such_axes_too(target: list[int], tmp_path: Path) -> None:
    nodes = [*unpacked("flat scores"), node("Reshape", ["flat scores", "wide"], ["scores"])]
    constants = {"inside": INSIDE, "wide": np.array(target)}
    model = classifier(nodes, image=(1, "N", 3, SIZE, SIZE), constants=constants)
    imported = import_classifier(saved(model, tmp_path), options())
    (own,) = runtime(model).run(None, {"image": images(2)[None]})
    (found,) = runtime(imported.model).run(None, {"input": images(2)})
    np.testing.assert_allclose(found, own.reshape(2, 4), rtol=1e-5)


def test_five_axes_without_a_one_are_no_image(tmp_path: Path) -> None:
    model = classifier(unpacked(), image=("N", 2, 3, SIZE, SIZE), constants={"inside": INSIDE})
    with pytest.raises(UnsupportedGraph, match="no image input"):
        import_classifier(saved(model, tmp_path), options())
