"""Whole networks against torch autograd, per layer and per sample."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export.gradient import UnsupportedOperator, differentiate
from export.gradient.norms.layers import WeightedLayer
from export.gradient.norms.planner import Planner, kept_output
from export.running.reference import evaluate
from service.contract.outputs import outputs_of
from tests.export.gradient.networks.torch_networks import by_autograd, catalogued, feeds, prepared, randomised, run

EVERY_NORM = (*outputs_of("batch_norms"), "input_gradient")
LABELS = (3, -1, 0, 9, 1, 2, 5)


def images(batch: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, 3, size, size)).astype(np.float32)


def assert_squares_agree(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    """Norms, of which the outputs are squares, agree relatively; gradients relative to their largest entry."""
    for name, value in expected.items():
        if name == "input_gradient":
            np.testing.assert_allclose(found[name], value, atol=tolerance * np.abs(value).max(), rtol=0)
        else:
            np.testing.assert_allclose(np.sqrt(found[name]), np.sqrt(value), rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("name", ["resnet8", "plain8", "resnet20"])
def test_float32_norms_agree_with_autograd(name: str, batch: int) -> None:
    network = catalogued(name)
    ready = prepared(network)
    image, label = images(batch), LABELS[:batch]
    found = run(differentiate(ready, EVERY_NORM), image, label)
    assert_squares_agree(found, by_autograd(network, ready, image, label), 1e-4)


@pytest.mark.parametrize("name", ["resnet8", "plain8"])
def test_float64_norms_agree_with_autograd(name: str) -> None:
    network = catalogued(name)
    ready = prepared(network, double=True)
    image, label = images(2).astype(np.float64), LABELS[:2]
    found = evaluate(differentiate(ready, EVERY_NORM), feeds(image, label))
    assert_squares_agree(found, by_autograd(network, ready, image, label), 1e-10)


def test_resnet20_has_twenty_layers_in_forward_order() -> None:
    layers = prepared(catalogued("resnet20")).layers
    assert len(layers) == 20
    assert [layer.depth for layer in layers] == list(range(1, 21))
    assert layers[0].name == "stem"
    assert layers[-1].name == "classifier"
    assert sum(layer.parameters for layer in layers) == 432 + 6 * 2304 + 4608 + 5 * 9216 + 18432 + 5 * 36864 + 640


class Shared(nn.Module):
    """One convolution used twice and one linear layer used at every position, with a branch around."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        h = h + torch.tanh(self.twice(h))
        h = h + torch.tanh(self.twice(h))
        scores: Tensor = self.head(h.mean((2, 3)))
        return scores


def test_a_shared_weight_is_one_layer_with_the_norm_of_the_summed_gradient() -> None:
    torch.manual_seed(0)
    network = Shared().eval()
    ready = prepared(network, (3, 8, 8))
    assert [(layer.name, layer.uses) for layer in ready.layers] == [("first", 1), ("twice", 2), ("head", 1)]
    image, label = images(3, 8), (0, -1, 2)
    found = run(differentiate(ready, EVERY_NORM), image, label)
    assert_squares_agree(found, by_autograd(network, ready, image, label), 1e-4)


class Wide(nn.Module):
    """Positions few and channels many, so that the ghost norm is the cheaper one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, stride=3)
        self.ghost = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.grouped = nn.Conv2d(64, 64, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(64)
        self.head = nn.Linear(64 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.conv(x))
        h = h + torch.relu(self.ghost(h))
        scores: Tensor = self.head(self.norm(torch.relu(self.grouped(h))).flatten(1))
        return scores


def test_ghost_norms_agree_with_autograd() -> None:
    torch.manual_seed(0)
    network = randomised(Wide())
    ready = prepared(network, (3, 6, 6))
    image, label = images(3, 6), (0, -1, 2)
    found = run(differentiate(ready, EVERY_NORM), image, label)
    assert_squares_agree(found, by_autograd(network, ready, image, label), 1e-4)


@pytest.mark.parametrize("from_outputs", [True, False])
def test_the_scale_of_a_normalization_gets_its_gradient_either_way(
    from_outputs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(planner: Planner, layer: WeightedLayer, *_: object) -> str | None:
        return kept_output(planner.graph, layer) if from_outputs else None

    monkeypatch.setattr(Planner, "_output_for_scale", chosen)
    network = catalogued("resnet8")
    ready = prepared(network, double=True)
    image, label = images(2).astype(np.float64), LABELS[:2]
    found = evaluate(differentiate(ready, ("weight_square", "other_square")), feeds(image, label))
    expected = by_autograd(network, ready, image, label)
    assert_squares_agree(found, {name: expected[name] for name in ("weight_square", "other_square")}, 1e-10)


def test_a_shift_that_outweighs_its_scale_costs_no_digits() -> None:
    network = catalogued("plain8")
    norms = [module for name, module in network.stages[2].named_modules() if name.endswith("norm1")]
    for norm in norms:
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.data.mul_(1e-4)
        norm.bias.data.add_(1.0)
    ready = prepared(network)
    image, label = images(3), LABELS[:3]
    found = run(differentiate(ready, ("other_square",)), image, label)
    expected = by_autograd(network, ready, image, label)
    assert_squares_agree(found, {"other_square": expected["other_square"]}, 1e-4)


def test_a_normalization_whose_scales_are_all_zero_is_not_divided_by() -> None:
    """Residual branches often start so; the convolution's gradient is 0, and that of the scale is not."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    branch = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, bias=False), norm)
    network = randomised(nn.Sequential(branch, nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)))
    nn.init.zeros_(norm.weight)
    ready = prepared(network, (3, 6, 6))
    assert [layer.weight_norm is not None for layer in ready.layers] == [True] * 3
    image, label = images(3, 6), (0, -1, 2)
    found = run(differentiate(ready, EVERY_NORM), image, label)
    assert_squares_agree(found, by_autograd(network, ready, image, label), 1e-4)
    assert not found["weight_square"][:, 0].any()


def test_a_note_counts_the_normalizations_that_are_folded() -> None:
    """One channel without a scale is enough for its normalization to stay."""
    network = catalogued("plain8")
    norm = network.get_submodule("stages.1.0.norm1")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data[3] = 0
    note = "BatchNormalization is folded in 6 of 7 places; norms are of the original parameters"
    assert prepared(network).notes == (note,)


def test_a_saturated_sample_keeps_its_tiny_gradient() -> None:
    network = catalogued("plain8")
    network.classifier.weight.data.mul_(12)
    ready = prepared(network)
    image = images(4)
    label = (-1, -1, -1, -1)
    scale = 2.0**40
    found = run(differentiate(ready, "weight_norms"), image, label, scale)
    expected = by_autograd(network, ready, image, label)
    assert 0 < np.sqrt(expected["activation_square"][:, -1].min()) < 1e-9
    for name in ("activation_square", "weight_square"):
        np.testing.assert_allclose(np.sqrt(found[name]) / scale, np.sqrt(expected[name]), rtol=1e-3)


def test_scaled_norms_are_the_same_folded_or_not() -> None:
    network = catalogued("resnet8")
    image, label = images(2), (1, -1)
    apart = run(differentiate(prepared(network), "weight_norms"), image, label)
    absorb(network)
    folded = run(differentiate(prepared(network), "weight_norms"), image, label)
    np.testing.assert_allclose(folded["scaled_square"], apart["scaled_square"], rtol=1e-4)
    assert not np.allclose(folded["weight_square"], apart["weight_square"], rtol=0.1)


def absorb(network: nn.Module) -> None:
    """Move every normalization's scale into the convolution before it, leaving an identity scale behind."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for conv, norm in zip(convolutions, norms, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        ratio = norm.weight.data / (norm.running_var + norm.eps).sqrt()
        conv.weight.data.mul_(ratio[:, None, None, None])
        norm.running_mean.mul_(ratio)
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.data.fill_(1.0)


class SigmoidChain(nn.Module):
    """Forty linear layers with sigmoids between: what vanishing looks like."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(12, 16), *(nn.Linear(16, 16) for _ in range(38)), nn.Linear(16, 5)]
        for layer in layers:
            nn.init.xavier_normal_(layer.weight, 0.5)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = torch.sigmoid(layer(x))
        scores: Tensor = self.layers[-1](x)
        return scores


def test_norms_of_a_forty_layer_sigmoid_chain_are_right_down_to_1e_36() -> None:
    torch.manual_seed(1)
    network = SigmoidChain().eval()
    ready = prepared(network, (3, 2, 2))
    image, label = images(2, 2), (0, 3)
    model = differentiate(ready, "weight_norms")
    expected = by_autograd(network, ready, image, label)
    for name in ("activation_square", "weight_square", "scaled_square"):
        exact = np.sqrt(expected[name])
        assert exact.min() < 1e-35
        right = np.zeros(exact.shape, dtype=bool)
        for exponent in (0, 50, 100):
            squares = run(model, image, label, 2.0**exponent)[name].astype(np.float64)
            norms = np.sqrt(squares) / 2.0**exponent
            usable = (squares > 1e-30) & np.isfinite(squares)
            np.testing.assert_allclose(norms[usable], exact[usable], rtol=1e-3)
            right |= usable
        assert right.all()


@pytest.fixture(scope="module")
def resnet8_norms() -> onnx.ModelProto:
    return differentiate(prepared(catalogued("resnet8")), (*outputs_of("weight_norms"), "input_gradient"))


def assert_the_same(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Every norm to 1e-6 of itself (its square to 2e-6); scores and gradients to 1e-6 of the largest."""
    slack = 0.0 if name.endswith("_square") else 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=slack, err_msg=name)


def test_a_sample_has_the_same_norms_alone_in_a_batch_and_shuffled(resnet8_norms: onnx.ModelProto) -> None:
    image = images(64)
    label = np.arange(64) % 11 - 1
    together = run(resnet8_norms, image, label)
    order = np.random.default_rng(0).permutation(64)
    shuffled = run(resnet8_norms, image[order], label[order])
    for name, value in together.items():
        assert_the_same(name, shuffled[name], value[order])
    for index in (0, 17, 63):
        alone = run(resnet8_norms, image[index : index + 1], label[index : index + 1])
        for name, value in together.items():
            assert_the_same(name, alone[name][0], value[index])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_beside_one_that_is_not_finite_keeps_its_norms(resnet8_norms: onnx.ModelProto, bad: float) -> None:
    image = images(3)
    clean = run(resnet8_norms, image, (1, 2, -1))
    image[1] = bad
    beside = run(resnet8_norms, image, (1, 2, -1))
    for name, value in clean.items():
        assert_the_same(name, beside[name][[0, 2]], value[[0, 2]])
    assert not np.isfinite(beside["weight_square"][1]).all()


def test_scale_multiplies_gradients_without_touching_other_samples(resnet8_norms: onnx.ModelProto) -> None:
    image = images(3)
    once = run(resnet8_norms, image, (1, 2, -1))
    scaled = run(resnet8_norms, image, (1, 2, -1), np.array([1.0, 2.0**20, 1.0]))
    np.testing.assert_array_equal(scaled["weight_square"][[0, 2]], once["weight_square"][[0, 2]])
    np.testing.assert_allclose(scaled["weight_square"][1], once["weight_square"][1] * 2.0**40, rtol=1e-6)


def test_dead_rectifiers_give_exactly_zero() -> None:
    network = catalogued("plain8")
    norm = network.get_submodule("stages.1.0.norm1")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.bias.data.fill_(-100.0)
    found = run(differentiate(prepared(network), "weight_norms"), images(2), (0, 1))
    names = [layer.name for layer in prepared(network).layers]
    dead = names.index("stages.1.0.conv1")
    assert (found["weight_square"][:, : dead + 1] == 0).all()
    assert (found["weight_square"][:, -1] > 0).all()


def test_an_operator_without_a_rule_is_refused_by_name() -> None:
    nodes = [
        onnx.helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=1, noop_with_empty_axes=1),
        onnx.helper.make_node("Bernoulli", ["sum"], ["drawn"], name="odd"),
        onnx.helper.make_node("Mul", ["drawn", "x"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 4])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    with pytest.raises(UnsupportedOperator, match=r"Bernoulli \(node 'odd'\)"):
        differentiate(model)


def test_activation_statistics_are_those_of_the_original_layers() -> None:
    network = catalogued("resnet8")
    ready = prepared(network)
    image = images(3)
    found = run(differentiate(ready, "activations"), image, (0, 0, 0))
    maps = run(differentiate(ready, "feature_maps"), image, (0, 0, 0))
    outputs: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda module, _, y, name=name: outputs.update({name: y}))
    with torch.no_grad():
        network(torch.from_numpy(image))
    first = 0
    for index, layer in enumerate(ready.layers):
        own = outputs[layer.name].flatten(1)
        np.testing.assert_allclose(found["activation_mean"][:, index], own.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["activation_variance"][:, index], own.var(1, unbiased=False), rtol=1e-4)
        if layer.rectifier is None:
            assert (found["activation_zero_share"][:, index] == 0).all()
            continue
        behind = outputs[rectifier_behind(layer.name)]
        share = (behind == 0).flatten(1).float().mean(1)
        np.testing.assert_allclose(found["activation_zero_share"][:, index], share, atol=1e-4)
        peaks = found["channel_peak"][:, first : first + layer.channels]
        np.testing.assert_allclose(peaks, behind.amax((2, 3)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(maps[f"map/{layer.name}"], behind, rtol=1e-3, atol=1e-4)
        first += layer.channels
    assert first == found["channel_peak"].shape[1]


def rectifier_behind(layer: str) -> str:
    """The activation module that follows a layer of our networks."""
    return "stem_act" if layer == "stem" else layer.replace("conv", "act")
