"""Sick networks as torch exports them: the gate names what they suffer from, with nothing but the file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from contraflow.__main__ import main
from export.coverage.files.exporters import by_tracing

PIXELS = ["--preprocessing", "imagenet"]
CHANNELS, SIZE = 16, 8


def network(
    depth: int = 6, activation: type[nn.Module] = nn.ReLU, *, gain: float = 1.0, dead: float = 0.0, bias: float = 0.0
) -> nn.Sequential:
    """A chain of convolutions by He's initialization times `gain`.

    Args:
        dead: share of the third layer's channels that are shut off.
        bias: the first number of the last layer's bias.
    """
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for index in range(depth):
        convolution = nn.Conv2d(CHANNELS if index else 3, CHANNELS, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
        convolution.weight.data *= gain
        if index == 2 and dead:
            convolution.bias.data[: math.ceil(dead * CHANNELS)] = -1e4
        layers += [convolution, activation()]
    head = nn.Linear(CHANNELS, 5)
    head.bias.data[0] = bias
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


NETWORKS: dict[str, tuple[str, str, Callable[[], nn.Module]]] = {
    "healthy": ("healthy", "", network),
    "dead60": ("dead", "units", lambda: network(dead=0.6)),
    "dead75": ("dead", "units", lambda: network(dead=0.75)),
    "dead100": ("dead", "units", lambda: network(dead=1.0)),
    "exploding": ("exploding", "size", lambda: network(depth=12, gain=3.0)),
    "vanishing": ("vanishing", "decay", lambda: network(depth=10, activation=nn.Sigmoid)),
    "nan-weight": ("not finite", "forward", lambda: network(gain=math.nan)),
    "nan-softmax": ("not finite", "forward", lambda: nn.Sequential(network(bias=math.nan), nn.Softmax(1))),
    "overflow": ("not finite", "forward", lambda: network(depth=14, gain=1000.0)),
    "overflow-backward": ("not finite", "backward", lambda: network(depth=8, gain=3000.0)),
}
"""Name → its state, the rule that decides, and the network."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, (_, _, made) in NETWORKS.items():
        by_tracing(made(), torch.zeros(1, 3, SIZE, SIZE), folder / f"{name}.onnx")
    return folder


@pytest.fixture(scope="module")
def answer(files: Path) -> dict[str, Any]:
    """The gate's answer about all of them, imported by the command line."""
    bundles = files / "bundles"
    for name in NETWORKS:
        assert main(["import", str(files / f"{name}.onnx"), *PIXELS, "--out", str(bundles)]) == 0, name
    report = files / "report.json"
    assert main(["check", str(bundles), "--format", "json", "--report", str(report)]) == 1
    found: dict[str, Any] = json.loads(report.read_text())
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gate_says_what_is_wrong(answer: dict[str, Any], name: str) -> None:
    state, rule, _ = NETWORKS[name]
    (model,) = (model for model in answer["models"] if model["model"] == name)
    verdict = model["verdict"]
    assert verdict["state"] == state, verdict["because"]
    assert [finding["rule"] for finding in verdict["findings"][:1]] == ([rule] if rule else [])
    assert model["images"]["folder"] is None
    if state != "not finite":
        assert verdict["not_looked_for"] == []


def test_a_file_is_judged_without_a_word_more(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import runs in a process of its own, and names the weights that are no numbers."""
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path))
    assert main(["check", str(files / "nan-weight.onnx"), *PIXELS]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("nan-weight@1: not finite. On 64 of 64 images the logits are NaN or infinite")
    assert "Note: Numbers that are NaN or infinite are stored in " in said.out
    assert "numbers that are NaN or infinite are stored in '0.weight' (432 of 432), " in said.err


def test_gradients_that_are_no_numbers_cannot_be_verified(
    files: Path, answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(files / "bundles" / "nan-weight")]) == 2
    assert "answers NaN or infinity to noise" in capsys.readouterr().err
