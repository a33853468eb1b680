"""The graph `explanation` against torch's hooks: every layer with a map, and the image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, nn

from export.gradient import Prepared, differentiate
from export.running.runs import Run, in_float64, in_onnxruntime
from service.contract.norms import measure
from tests.export.gradient.networks.explained import evidence_by_hooks, logit_gradient_by_autograd
from tests.export.gradient.networks.torch_networks import catalogued, exported, feeds, prepared, randomised

LABELS = (3, -1, 0, 2)
IMAGE = -1


def images(batch: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, 3, size, size)).astype(np.float32)


def explain(run: Run, image: np.ndarray, label: tuple[int, ...], layer: int) -> dict[str, np.ndarray]:
    """Every output of the graph, as the service measures it."""
    given = feeds(image, label) | {"layer": np.array([layer])}
    return measure(lambda scale: run(given | {"cotangent_scale": scale.astype(image.dtype)}), len(image))


def assert_agree(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Every entry to a part of the sample's largest."""
    largest = np.abs(expected).max(axis=1, keepdims=True)
    assert (largest > 0).all()
    np.testing.assert_allclose(found / largest, expected / largest, atol=tolerance, rtol=0)


def index_of(ready: Prepared, name: str) -> int:
    return [layer.name for layer in ready.layers].index(name)


# ── our networks ──────────────────────────────────────────────────────────────────────────────────


def module_of_map(network: nn.Module, layer: str) -> nn.Module:
    """The module of our network whose output is a layer's map: its rectifier's, and of a block's second the block."""
    if layer == "stem":
        return network.get_submodule("stem_act")
    block = layer.removesuffix(".conv1").removesuffix(".conv2").removesuffix(".shortcut.selection")
    return network.get_submodule(f"{block}.act1" if layer.endswith(".conv1") else block)


@pytest.mark.parametrize("name", ["resnet8", "plain8", pytest.param("resnet20", marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_layer_with_a_map_is_explained_as_by_hooks(name: str, precision: str) -> None:
    network = catalogued(name)
    double = precision == "float64"
    ready = prepared(network, double=double)
    graph = differentiate(ready, "explanation")
    run, tolerance = (in_float64(graph), 1e-10) if double else (in_onnxruntime(graph), 1e-5)
    batch = 1 if double else 3
    image, label = images(batch).astype(precision), LABELS[:batch]
    mapped = [index for index, layer in enumerate(ready.layers) if layer.map_size]
    assert len(mapped) == len(ready.layers) - 1  # all but the classifier
    for index in mapped:
        found = explain(run, image, label, index)
        expected = evidence_by_hooks(network, module_of_map(network, ready.layers[index].name), image, label)
        assert_agree(found["layer_evidence"], expected, tolerance)
        assert found["logit_gradient"].shape == (batch, 0)
    found = explain(run, image, label, IMAGE)
    assert_agree(found["logit_gradient"], logit_gradient_by_autograd(network, image, label), tolerance)
    assert found["layer_evidence"].shape == (batch, 0)


# ── every kind of structure ───────────────────────────────────────────────────────────────────────


class ChannelsLast(nn.Module):
    """As ConvNeXt: linear layers at every position of [N, h, w, C] between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm = nn.LayerNorm(6)
        self.wide = nn.Linear(6, 12)
        self.narrow = nn.Linear(12, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        branch = self.norm(self.depthwise(h).permute(0, 2, 3, 1))
        branch = self.narrow(nn.functional.gelu(self.wide(branch)))
        scores: Tensor = self.head((h + branch.permute(0, 3, 1, 2)).mean((2, 3)))
        return scores


class Branches(nn.Module):
    """As Inception: three branches of other kernels, joined; a pool in one, and a gate [N, C, 1, 1] over all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_act = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.one = nn.Conv2d(8, 4, 1)
        self.three = nn.Conv2d(8, 4, 3, padding=2, dilation=2, groups=2)
        self.pooled = nn.Conv2d(8, 4, 1)
        self.act = nn.SiLU()
        self.squeeze = nn.Conv2d(12, 12, 1)
        self.last = nn.Conv2d(12, 6, (3, 1), stride=(2, 1))
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(self.stem_act(self.stem(x)))
        pooled = nn.functional.max_pool2d(h, 3, 1, 1)
        h = self.act(torch.cat([self.one(h), self.three(h), self.pooled(pooled)], 1))
        h = h * torch.sigmoid(self.squeeze(h.mean((2, 3), keepdim=True)))
        scores: Tensor = self.head(self.last(h).mean((2, 3)))
        return scores


class Upsampled(nn.Module):
    """A transposed convolution, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.up(torch.tanh(self.down(x))))
        h = h + torch.tanh(self.twice(h))
        h = h + torch.tanh(self.twice(h))
        scores: Tensor = self.head(h.amax((2, 3)))
        return scores


@pytest.mark.parametrize(
    ("kind", "last", "unmapped"),
    [
        (ChannelsLast, {"wide", "narrow"}, {"head"}),
        (Branches, set(), {"squeeze", "head"}),
        (Upsampled, set(), {"head"}),
    ],
)
def test_maps_of_every_structure(kind: Callable[[], nn.Module], last: set[str], unmapped: set[str]) -> None:
    torch.manual_seed(0)
    network = randomised(kind())
    ready = prepared(network, (3, 16, 16))
    run = in_onnxruntime(differentiate(ready, "explanation"))
    image = images(3, 16)
    assert {layer.name for layer in ready.layers if not layer.map_size} == unmapped
    for index, layer in enumerate(ready.layers):
        if layer.map_size:
            module = network.get_submodule("stem_act" if layer.rectifier else layer.name)
            expected = evidence_by_hooks(network, module, image, LABELS[:3], channels_last=layer.name in last)
            found = explain(run, image, LABELS[:3], index)["layer_evidence"]
            assert found.shape[1] == layer.map_size[0] * layer.map_size[1]
            assert_agree(found, expected, 1e-5)
    found = explain(run, image, LABELS[:3], IMAGE)["logit_gradient"]
    assert_agree(found, logit_gradient_by_autograd(network, image, LABELS[:3]), 1e-5)


class Windows(nn.Module):
    """One convolution as hypothesis draws it, with a rectifier before and none behind."""

    def __init__(self, channels: int, groups: int, kernel: int, stride: int, dilation: int, padding: int) -> None:
        super().__init__()
        self.first, self.act = nn.Conv2d(3, channels, 3), nn.ReLU()
        self.drawn = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups)
        self.head = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.tanh(self.drawn(self.act(self.first(x)))).mean((2, 3)))
        return scores


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(6, 1), (6, 2), (6, 6), (16, 1), (16, 16)]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2),
)
def test_drawn_convolutions(channels: tuple[int, int], kernel: int, stride: int, dilation: int, padding: int) -> None:
    torch.manual_seed(kernel + 10 * stride)
    network = Windows(*channels, kernel, stride, dilation, padding).eval()
    ready = prepared(network, (3, 12, 12))
    run = in_onnxruntime(differentiate(ready, "explanation"))
    image = images(2, 12)
    for name, module in (("first", network.act), ("drawn", network.drawn)):
        found = explain(run, image, LABELS[:2], index_of(ready, name))["layer_evidence"]
        assert_agree(found, evidence_by_hooks(network, module, image, LABELS[:2]), 1e-5)


# ── what has no map ───────────────────────────────────────────────────────────────────────────────


class Tokens(nn.Module):
    """As a ViT: a patch embedding, then linear layers on tokens; or convolutions, with attention as their pool."""

    def __init__(self, convolutions: int, products: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.convolutions = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(convolutions))
        self.products = nn.ModuleList(nn.Linear(8, 8) for _ in range(products))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for convolution in self.convolutions:
            h = torch.relu(convolution(h))
        h = h.flatten(2).transpose(1, 2)
        for product in self.products:
            h = h + torch.tanh(product(h))
        scores: Tensor = self.head(h.mean(1))
        return scores


@pytest.mark.parametrize(("convolutions", "products", "maps"), [(0, 2, 0), (0, 1, 1), (3, 2, 4), (1, 6, 0)])
def test_a_patch_embedding_is_no_map_where_most_layers_read_tokens(convolutions: int, products: int, maps: int) -> None:
    torch.manual_seed(0)
    network = Tokens(convolutions, products).eval()
    ready = prepared(network, (3, 16, 16))
    assert sum(layer.map_size is not None for layer in ready.layers) == maps
    run = in_onnxruntime(differentiate(ready, "explanation"))
    found = explain(run, images(2, 16), LABELS[:2], IMAGE)
    assert_agree(found["logit_gradient"], logit_gradient_by_autograd(network, images(2, 16), LABELS[:2]), 1e-5)
    assert found["layer_evidence"].shape == (2, 0)


def test_a_layer_without_a_map_gives_nothing_and_one_that_is_none_is_refused(resnet8: Run) -> None:
    found = explain(resnet8, images(2), LABELS[:2], 7)
    assert found["layer_evidence"].shape == found["logit_gradient"].shape == (2, 0)
    with pytest.raises(Exception, match="indices element out of data bounds"):
        explain(resnet8, images(2), LABELS[:2], 8)


# ── what a logit is ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def resnet8_graph() -> onnx.ModelProto:
    return differentiate(prepared(catalogued("resnet8")), "explanation")


@pytest.fixture(scope="module")
def resnet8(resnet8_graph: onnx.ModelProto) -> Run:
    return in_onnxruntime(resnet8_graph)


def test_a_network_of_independent_labels_is_explained_by_the_same_logits(resnet8: Run) -> None:
    from export.gradient import prepare

    model = exported(catalogued("resnet8"), (3, 32, 32))
    constants = [name for node in model.graph.node if node.op_type == "Constant" for name in node.output]
    ready = prepare(model, constants=constants, label_kind="independent")
    independent = in_onnxruntime(differentiate(ready, "explanation"))
    for layer in (0, 6, IMAGE):
        of_classes = explain(resnet8, images(3), LABELS[:3], layer)
        of_labels = explain(independent, images(3), LABELS[:3], layer)
        for name, value in of_classes.items():
            assert np.array_equal(of_labels[name], value)


def test_outputs_of_a_logit_and_of_the_loss_are_in_no_graph_together() -> None:
    with pytest.raises(ValueError, match="logit_gradient explain a logit, and no graph gives input_gradient"):
        differentiate(prepared(catalogued("plain8")), ["logits", "logit_gradient", "input_gradient"])


# ── samples, scales ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("layer", [6, 0, IMAGE])
def test_a_sample_is_explained_alike_alone_in_a_batch_and_beside_nan(resnet8: Run, layer: int) -> None:
    image, label = images(8), (0, 1, 2, 3, -1, 5, 6, 7)
    name = "logit_gradient" if layer == IMAGE else "layer_evidence"
    together = explain(resnet8, image, label, layer)[name]
    for index in (0, 4, 7):
        alone = explain(resnet8, image[index : index + 1], label[index : index + 1], layer)[name]
        assert_agree(alone, together[index : index + 1], 1e-6)
    image[3] = np.nan
    beside = explain(resnet8, image, label, layer)[name]
    kept = [0, 1, 2, 4, 5, 6, 7]
    assert_agree(beside[kept], together[kept], 1e-6)
    assert np.isnan(beside[3]).any()


class SigmoidChain(nn.Module):
    """Convolutions with sigmoids between, so many that dz/dA of the first is smaller than float32 holds digits of."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 4, 1), *(nn.Conv2d(4, 4, 1) for _ in range(38))]
        for layer in layers:
            nn.init.xavier_normal_(layer.weight, 0.45)
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


def test_gradients_of_1e_36_keep_three_digits() -> None:
    torch.manual_seed(1)
    network = SigmoidChain().eval()
    ready = prepared(network, (3, 4, 4))
    run = in_onnxruntime(differentiate(ready, "explanation"))
    image = images(2, 4)
    exact = logit_gradient_by_autograd(network, image, LABELS[:2])
    assert np.abs(exact).max() < 1e-34
    assert_agree(explain(run, image, LABELS[:2], IMAGE)["logit_gradient"], exact, 1e-3)
    first = evidence_by_hooks(network, network.layers[0], image, LABELS[:2])
    assert np.abs(first).max() < 1e-34
    assert_agree(explain(run, image, LABELS[:2], 0)["layer_evidence"], first, 1e-3)


def test_what_is_not_asked_for_wants_no_other_scale(resnet8: Run) -> None:
    scales = []

    def run(scale: np.ndarray) -> dict[str, np.ndarray]:
        scales.append(scale)
        return resnet8(feeds(images(2), LABELS[:2]) | {"layer": np.array([6]), "cotangent_scale": scale})

    measure(run, 2)
    assert len(scales) == 1


# ── no more than what is asked for ────────────────────────────────────────────────────────────────


def nodes_run(model: onnx.ModelProto, image: np.ndarray, layer: int, folder: Path) -> list[tuple[str, str]]:
    """Operator and name of every node that a run executes, those in branches too."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling, options.profile_file_prefix = True, str(folder / f"layer{layer}")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, feeds(image, LABELS[: len(image)]) | {"layer": np.array([layer])})
    events = json.loads(Path(session.end_profiling()).read_text())
    return [
        (event["args"]["op_name"], event["name"].removesuffix("_kernel_time"))
        for event in events
        if event["name"].endswith("_kernel_time")
    ]


def test_a_run_goes_back_no_further_than_to_the_layer(tmp_path: Path) -> None:
    """A plain network: to the map of layer i lead the convolutions behind it, and to the image all seven."""
    ready = prepared(catalogued("plain8"))
    model = differentiate(ready, "explanation")
    convolutions = {layer.nodes[0].name for layer in ready.weighted[:-1]}
    for layer, expected in ((6, 0), (5, 1), (3, 3), (0, 6), (IMAGE, 7)):
        run = nodes_run(model, images(1), layer, tmp_path)
        back = {name.partition("/gradient/")[0] for operator, name in run if "/gradient/Conv" in name}
        assert len(back & convolutions) == expected
        evidence = [name for operator, name in run if operator == "MatMul" and "/gradient/" in name]
        assert len(evidence) == (layer != IMAGE)
        assert sum(operator == "Conv" and "/gradient/" not in name for operator, name in run) == 7


def test_a_run_leaves_out_the_branches_beside_the_layer_s_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ready = prepared(randomised(Branches()), (3, 16, 16))
    model = differentiate(ready, "explanation")
    scopes = {layer.name: weighted.nodes[0].name for layer, weighted in zip(ready.layers, ready.weighted, strict=True)}
    for name, others in (("one", {"three", "pooled"}), ("last", {"one", "three", "pooled", "squeeze", "last"})):
        run = nodes_run(model, images(1, 16), index_of(ready, name), tmp_path)
        back = {name.partition("/gradient/")[0] for operator, name in run if "/gradient/Conv" in name}
        assert not back & {scopes[other] for other in others}
    assert sum(operator == "MaxPool" for operator, _ in run) == 2  # the forward pass's own, and none for their places
    run = nodes_run(model, images(1, 16), IMAGE, tmp_path)
    assert sum(operator == "MaxPool" for operator, _ in run) == 4


# ── is it about the network? ──────────────────────────────────────────────────────────────────────


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, the mean over samples."""
    ranks = [np.argsort(np.argsort(values, axis=1), axis=1) for values in (a, b)]
    return float(np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(*ranks, strict=True)]))


def test_explanations_change_when_weights_are_drawn_anew_from_the_top() -> None:
    """The check of Adebayo and others (2018), which an edge detector fails: it would explain any network alike."""
    bundle = Path("models/bundles/resnet20")
    model = onnx.load(bundle / "forward.onnx")
    weights = [t for t in model.graph.initializer if t.name.endswith(".weight") and not t.name.startswith("stem")]
    image, generator = images(8), np.random.default_rng(0)
    explained: dict[int, list[np.ndarray]] = {IMAGE: [], 10: []}
    for drawn in (0, 1, 8, len(weights)):
        for tensor in weights[::-1][:drawn]:
            values = numpy_helper.to_array(tensor)
            new = generator.normal(0, values.std(), values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
        run = in_onnxruntime(differentiate(model, "explanation"))
        for layer, found in explained.items():
            outputs = explain(run, image, (-1,) * 8, layer)
            found.append(np.abs(outputs["logit_gradient"]) if layer == IMAGE else outputs["layer_evidence"])
    for first, *others in explained.values():
        assert rank_correlation(first, first) == pytest.approx(1)
        correlations = [rank_correlation(first, other) for other in others]
        assert max(correlations) < 0.7, correlations
        assert abs(correlations[-1]) < 0.3, correlations
