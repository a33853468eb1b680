"""The output that holds the scores, among those that a file declares.

An output is taken without being named only where it is plain that no other can hold the scores: the others are
decisions, texts or maps; or it alone has one number for every label; or it alone bears a name that says so. A ZipMap,
which turns scores into maps from label to score, is cut off, and its labels are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper, shape_inference

from export.graph.attributes import attributes_of
from export.importing.flags.errors import OptionMismatch
from service.contract.bundle_schema import LabelKindName

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
NAMES = {"logits", "logit", "scores", "probabilities", "probability", "probs", "prob", "output_probability"}
"""Names by which an output says that it holds the scores, in small letters and without `:0`."""
ML = "ai.onnx.ml"
SAME = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast"}
"""Operators that leave the numbers as they are."""
JUDGED = SAME | {"Softmax", "LogSoftmax", "Sigmoid", "Log", "Exp", "Clip", "Normalizer"}
"""Operators behind which scores are another form of the same scores."""
NO_TENSORS = {"sequence_type": "a sequence", "map_type": "a map", "optional_type": "an optional value"}


@dataclass(frozen=True)
class Head:
    """The tensor of scores `output`, the `labels` that the file itself gives its classes, and notes."""

    output: str
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def chosen_head(model: ModelProto, name: str | None, classes: int | None, stated: LabelKindName | None = None) -> Head:
    """Return the tensor of scores: the one that `--output` names, else the only output that can hold them.

    Any tensor of the graph may be named, so that logits inside the graph can be reached. `classes` is the number of
    labels where that is known, `stated` the kind of labels that the file's owner states.
    Raises OptionMismatch where several outputs can hold the scores and none is named, the name is unknown, or the file
    makes sigmoids of what is named and nothing is stated.
    """
    outputs: list[str] = [value.name for value in model.graph.output]
    graph = _Outputs(model)
    if name is not None:
        if name not in outputs and name not in graph.producers:
            raise OptionMismatch(f"--output {name}: no such tensor; the model's outputs are {', '.join(outputs)}")
        if stated is None and (sigmoids := graph.sigmoids_of(name)) is not None:
            raise OptionMismatch(
                f"--output {name}: the file makes sigmoids of it (the output {sigmoids!r}), so its labels seem to be "
                "independent; say --labels-are independent, or exclusive"
            )
        return graph.head(name, ())
    if not outputs:
        raise OptionMismatch("the model declares no outputs; name its tensor of scores with --output")
    if len(outputs) == 1:
        return graph.head(outputs[0], ())
    found, reason = graph.only(classes)
    if found is None:
        raise OptionMismatch(
            f"the model has {len(outputs)} outputs, and {reason}; choose one with --output: {graph.listed()}"
        )
    return graph.head(found, (f"of the file's {len(outputs)} outputs {found!r} holds the scores: {reason}",))


class _Outputs:
    """The outputs of a model, with what is known of their types, their shapes and the nodes that make them."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.producers: dict[str, NodeProto] = {name: node for node in model.graph.node for name in node.output if name}
        self.values: dict[str, ValueInfoProto] = {value.name: value for value in model.graph.output}

    def head(self, name: str, notes: tuple[str, ...]) -> Head:
        """Return the head whose scores are `name`, or what a ZipMap makes it from."""
        node, labels = self.producers.get(name), None
        if node is not None and _is_ml(node, "ZipMap"):
            labels = _class_labels(node)
            notes = (
                *notes,
                f"the file gives its scores as a map from label to score ({name!r}): its ZipMap is cut off",
            )
            name = node.input[0]
        return Head(name, labels or self._labels_of_decision(name), notes)

    def only(self, classes: int | None) -> tuple[str | None, str]:
        """Return the only output that can hold the scores, None where there are several or none, and the reason."""
        tensors = [value.name for value in self.model.graph.output if self._may_hold_scores(value)]
        self._infer_shapes(tensors)
        rows = [name for name in tensors if self._is_row(name)]
        last: dict[str, str] = {}  # of several forms of the same scores the last is taken
        for name in sorted(rows, key=lambda name: len(self._forms(name))):
            last[self._root(name)] = name
        able = [name for name in rows if last[self._root(name)] == name]
        if not able:
            return None, "none of them is one row of scores for every image"
        if decided := self._decided():
            roots = {self._root(name) for name in decided}
            deciding = [name for name in able if self._root(name) in roots]
            if len(deciding) == 1:
                return deciding[0], "the file's own decision is taken from it"
            if not deciding:
                return None, f"its decision is taken from none of them (but from {decided[0]!r})"
            able = deciding
        if len(able) == 1:
            return able[0], "no other can be one row of scores for every image"
        counted = [name for name in able if classes is not None and self._row(name) == classes]
        if len(counted) == 1:
            return counted[0], f"it alone has {classes} numbers, one for each label"
        named = [name for name in counted or able if name.removesuffix(":0").lower() in NAMES]
        if len(named) == 1:
            return named[0], "it alone bears such a name"
        return None, "several of them may hold the scores"

    def listed(self) -> str:
        """Return every output with its type or shape, in words."""
        return ", ".join(f"{value.name} ({self._described(value)})" for value in self.model.graph.output)

    def _may_hold_scores(self, value: ValueInfoProto) -> bool:
        node = self.producers.get(value.name)
        if node is not None and _is_ml(node, "ZipMap"):
            return True
        kind = value.type.WhichOneof("value")
        is_float = kind is None or (kind == "tensor_type" and value.type.tensor_type.elem_type in {0, *FLOATS})
        return is_float and node is not None and node.op_type not in ("ArgMax", "TopK")

    def _infer_shapes(self, wanted: Sequence[str]) -> None:
        """Learn shapes that the file does not declare; a graph that inference does not understand teaches nothing."""
        if all(self._shape(name) is not None for name in wanted):
            return
        try:
            inferred = shape_inference.infer_shapes(self.model).graph
        except Exception:
            return  # too large for protobuf, or with operators that onnx does not know
        known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
        self.values |= {name: known[name] for name in known}

    def _shape(self, name: str) -> list[int | str] | None:
        node = self.producers.get(name)
        if node is not None and _is_ml(node, "ZipMap"):
            return ["N", len(_class_labels(node))]
        value = self.values.get(name)
        if value is None or not value.type.tensor_type.HasField("shape"):
            return None
        return [size.dim_value or size.dim_param or "?" for size in value.type.tensor_type.shape.dim]

    def _is_row(self, name: str) -> bool:
        """Tell whether a tensor may be one row of scores per image, as far as its shape is known."""
        shape = self._shape(name)
        return shape is None or sum(size != 1 for size in shape[1:]) <= 1

    def _row(self, name: str) -> int | None:
        """Return how many scores an image has, None where that is not known."""
        shape = self._shape(name)
        sizes = [size for size in shape[1:] if isinstance(size, int)] if shape else []
        return max(sizes, default=1) if shape and len(sizes) == len(shape) - 1 else None

    def sigmoids_of(self, name: str) -> str | None:
        """Return an output that holds the sigmoids of several scores `name`; None where there is none."""
        self._infer_shapes([name])
        if self._row(name) in (None, 1):
            return None
        for value in self.model.graph.output:
            forms = self._forms(value.name)
            makers = [node.op_type for node in forms]
            if "Sigmoid" in makers and any(node.input[0] == name for node in forms[makers.index("Sigmoid") :]):
                return str(value.name)
        return None

    def _forms(self, name: str) -> list[NodeProto]:
        """Return the nodes by which `name` is another form of the same scores, the last first."""
        nodes: list[NodeProto] = []
        while (node := self.producers.get(name)) is not None and (node.op_type in JUDGED or _is_ml(node, "ZipMap")):
            nodes.append(node)
            name = node.input[0]
        return nodes

    def _root(self, name: str) -> str:
        """Return the tensor of which `name` is another form."""
        forms = self._forms(name)
        return str(forms[-1].input[0]) if forms else name

    def _decided(self) -> list[str]:
        """Return the tensors from which the outputs that are decisions are taken."""
        found = (self._decision(value.name) for value in self.model.graph.output)
        return [_decided_by(node) for node in found if node is not None and _decided_by(node)]

    def _decision(self, name: str) -> NodeProto | None:
        node = self.producers.get(name)
        while node is not None and (node.op_type in SAME or _is_ml(node, "ArrayFeatureExtractor")):
            node = self.producers.get(node.input[1 if node.op_type == "ArrayFeatureExtractor" else 0])
        return node

    def _labels_of_decision(self, scores: str) -> tuple[str, ...] | None:
        """Return the labels among which the file chooses by the largest of `scores`, where it stores them."""
        stored = {tensor.name: tensor for tensor in self.model.graph.initializer}
        for node in self.model.graph.node:
            if _is_ml(node, "ArrayFeatureExtractor") and node.input[0] in stored:
                decision = self._decision(node.output[0])
                if decision is not None and self._root(_decided_by(decision)) == self._root(scores):
                    entries = numpy_helper.to_array(stored[node.input[0]]).reshape(-1).tolist()
                    return tuple(entry.decode() if isinstance(entry, bytes) else str(entry) for entry in entries)
        maker = self.producers.get(self._root(scores))
        return _class_labels(maker) if maker is not None and _is_ml(maker, "LinearClassifier") else None

    def _described(self, value: ValueInfoProto) -> str:
        kind = value.type.WhichOneof("value")
        if (shape := self._shape(value.name)) is not None:
            element = value.type.tensor_type.elem_type
            name = "" if element in {0, *FLOATS} else f"{TensorProto.DataType.Name(element).lower()} "
            return f"{name}[{', '.join(map(str, shape))}]"
        return NO_TENSORS.get(kind or "", "of unknown shape")


def _is_ml(node: NodeProto, operator: str) -> bool:
    return node.op_type == operator and node.domain == ML


def _decided_by(node: NodeProto) -> str:
    """Return the scores by whose largest a node decides; "" where it is no decision."""
    if node.op_type in ("ArgMax", "TopK"):
        return str(node.input[0])
    return str(node.output[1]) if _is_ml(node, "LinearClassifier") and len(node.output) > 1 else ""


def _class_labels(node: NodeProto) -> tuple[str, ...]:
    """Return the labels of a ZipMap or a classifier of ai.onnx.ml, numbers as text."""
    given = attributes_of(node)
    names = given.get("classlabels_strings") or given.get("classlabels_int64s") or given.get("classlabels_ints") or []
    return tuple(map(str, names))
