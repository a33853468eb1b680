"""A training run becomes a bundle that torch verifies, at the export and later from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.gradient import differentiate, prepare
from export.trained.export_run import NORMALIZATION_FILE, export_run, verify_run
from export.trained.forward import constants_of, forward_graph
from export.verification.parity import ParityError
from export.verification.verify import verify
from export.writing.bundle import read_bundle_and_graphs, write_bundle
from models.networks.network import Network, architecture
from models.training.recipe import Recipe
from models.training.train import Training
from tests.models.small_data import data_set


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    Training("resnet8", architecture("resnet8"), Recipe(epochs=1, batch_size=8), data_set(), "squares", folder).run()
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundles = tmp_path_factory.mktemp("bundles")
    export_run(run, "tiny", data_set(), bundles)
    return bundles / "tiny"


def test_a_run_becomes_a_bundle_whose_every_output_agrees_with_torch(exported: Path) -> None:
    bundle, graphs = read_bundle_and_graphs(exported)
    assert len(bundle.layers) == 8
    assert bundle.training is not None
    assert bundle.training.data_set == "squares"
    assert (exported / NORMALIZATION_FILE).is_file()
    verified = {(check.quantity, check.precision) for check in bundle.parity}
    assert verified >= {(f"{graph}: logits", precision) for graph in graphs for precision in ("float32", "float64")}
    assert ("batch_norms: batch_gradient_norm", "float64") in verified
    assert ("input_gradient: input_gradient", "float64") in verified


def test_a_bundle_with_another_weight_than_its_run_is_found_out(run: Path, exported: Path, tmp_path: Path) -> None:
    bundle, graphs = read_bundle_and_graphs(exported)
    for model in graphs.values():
        for tensor in model.graph.initializer:
            if tensor.name == "classifier.weight":
                tensor.raw_data = bytes(len(tensor.raw_data))
    write_bundle(bundle, graphs, tmp_path / "tiny")
    with pytest.raises(ParityError, match="logits differs from torch autograd"):
        verify_run(run, tmp_path / "tiny")


def test_channels_that_hardly_vary_cost_no_digit_of_the_logits() -> None:
    """ONNX stores the ε of a BatchNorm in float32: beside a variance as small, torch's own would be another number."""
    torch.manual_seed(0)
    network = Network(architecture("plain8")).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_var = torch.full_like(norm.bias, 1e-6)
        nn.init.constant_(norm.weight, 3e-3)
    forward, constants = forward_graph(network, 8), constants_of(network)
    derived = differentiate(prepare(forward, constants=constants), "forward")
    images = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    checks = verify(network, forward, constants, {"forward": derived}, images)
    assert max(check.difference for check in checks if check.precision == "float64") < 1e-13
    assert {norm.eps for norm in norms} == {1e-5}
