"""Files damaged at random: importing ends in a bundle's graphs or in an error of its own, never in another."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.graph.errors import GradientError
from export.importing.command import import_bundle
from export.importing.flags.errors import faults_of
from tests.export.importing.graphs import body, classifier, node, options, saved

EXAMPLES = 120
OPERATORS = (
    *("Split", "TopK", "Loop", "If", "Scan", "Gather", "Reshape", "Transpose", "Slice", "Concat", "Resize", "Pad"),
    *("ConstantOfShape", "Shape", "Cast", "ReduceMean", "Einsum", "SequenceConstruct", "NonZero", "Dropout", "GRU"),
    *("LayerNormalization", "Softmax", "Constant", "ArgMax", "Expand", "Tile", "Where", "Unique", "Optional", "Nope"),
)
NUMBERS = (-7, -1, 0, 1, 2, 5, 1000)

Damage = Callable[[ModelProto, random.Random], None]


def seed_model() -> ModelProto:
    """Convolution, normalization, pool, reshape, two linear layers and a softmax."""
    four = {name: np.full(5, 0.5, np.float32) for name in ("gain", "shift", "mean", "variance")}
    nodes = [
        body()[0],
        node("BatchNormalization", ["y", *four], ["n"], "norm"),
        node("Relu", ["n"], ["r"], "relu"),
        node("MaxPool", ["r"], ["small"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("ReduceMean", ["small", "axes"], ["flat"], "mean", keepdims=0),
        node("Reshape", ["flat", "target"], ["row"], "reshape"),
        node("Gemm", ["row", "head.weight", "head.bias"], ["scores"], "head", transB=1),
        node("Softmax", ["scores"], ["out"], "softmax", axis=-1),
    ]
    constants = {**four, "axes": np.array([2, 3]), "target": np.array([-1, 5])}
    return classifier(nodes, constants=constants, outputs=["out"])


def names_in(model: ModelProto) -> list[str]:
    tensors = [name for entry in model.graph.node for name in (*entry.input, *entry.output)]
    return [*tensors, *(tensor.name for tensor in model.graph.initializer), "", "label", "logits"]


def another_operator(model: ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(OPERATORS)


def another_operand(model: ModelProto, rng: random.Random) -> None:
    entry = rng.choice(model.graph.node)
    entry.input[rng.randrange(len(entry.input))] = rng.choice(names_in(model))


def another_result(model: ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).output[0] = rng.choice(names_in(model))


def one_operand_more(model: ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).input.append(rng.choice(names_in(model)))


def one_result_more(model: ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.node).output.append(rng.choice(["", "spare"]))


def one_node_less(model: ModelProto, rng: random.Random) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def one_attribute_less(model: ModelProto, rng: random.Random) -> None:
    entry = rng.choice([entry for entry in model.graph.node if entry.attribute])
    del entry.attribute[rng.randrange(len(entry.attribute))]


def another_attribute(model: ModelProto, rng: random.Random) -> None:
    attribute = rng.choice([a for entry in model.graph.node for a in entry.attribute])
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
        attribute.ints.extend([1] * rng.randrange(2))
    else:
        attribute.i = rng.choice(NUMBERS)
        attribute.type = rng.choice([attribute.type, rng.randrange(12)])


def one_attribute_more(model: ModelProto, rng: random.Random) -> None:
    name = rng.choice(["axis", "axes", "perm", "to", "group", "pads", "training_mode", "value"])
    rng.choice(model.graph.node).attribute.append(
        helper.make_attribute(name, rng.choice([1, -1, [1, 2], 0.5, "x", numpy_helper.from_array(np.zeros(2))]))
    )


def another_weight(model: ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    tensor.data_type = rng.choice([tensor.data_type, rng.randrange(24)])


def empty_weight(model: ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(value[:0], tensor.name))


def another_input(model: ModelProto, rng: random.Random) -> None:
    tensor = model.graph.input[0].type.tensor_type
    tensor.elem_type = rng.choice([TensorProto.FLOAT, rng.randrange(20)])
    tensor.shape.dim[rng.randrange(len(tensor.shape.dim))].dim_value = rng.choice(NUMBERS)


def another_opset(model: ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice([0, 1, 7, 9, 13, 18, 21, 99])


DAMAGES: list[Damage] = [
    *(another_operator, another_operand, another_result, one_operand_more, one_result_more, one_node_less),
    *(one_attribute_less, another_attribute, one_attribute_more, another_weight, empty_weight, another_input),
    another_opset,
]


def ends_well(data: bytes, folder: Path) -> bool:
    """Import, and say whether a bundle came of it; an error that is none of the importer's own goes through."""
    path = folder / "model.onnx"
    path.write_bytes(data)
    try:
        import_bundle(path, "stranger", options(), folder / "bundles")
    except GradientError:
        return False
    return True


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_graph_ends_in_words(tmp_path: Path, damage: Damage) -> None:
    for seed in range(EXAMPLES // len(DAMAGES) + 1):
        model = seed_model()
        damage(model, random.Random(seed))
        ends_well(model.SerializeToString(), tmp_path)


def test_damaged_bytes_end_in_words(tmp_path: Path) -> None:
    sound = seed_model().SerializeToString()
    rng = random.Random(0)
    for _ in range(EXAMPLES):
        data = bytearray(sound)
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        ends_well(bytes(data), tmp_path)


def test_what_is_damaged_is_sound_before(tmp_path: Path) -> None:
    assert ends_well(seed_model().SerializeToString(), tmp_path)


def test_a_fault_that_nobody_foresaw_is_told_with_the_checker_s_words(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path)
    model = classifier()
    del model.graph.node[0].input[0]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(GradientError) as caught, faults_of(path):
        raise ZeroDivisionError("two\nlines")
    said = str(caught.value)
    assert f"{path}: the importer does not understand it (ZeroDivisionError: two lines)" in said
    assert "onnx's checker says: " in said
    assert "\n" not in said
