"""Which execution provider is chosen by what is asked for, on a machine whose onnxruntime has no CUDA."""

from __future__ import annotations

import pytest

import contraflow as cf
from service.contract.execution_provider import checked_provider, wanted_gpu
from service.contract.runtime.gpu.cuda import CUDA
from service.contract.runtime.opening import Runtime
from service.contract.runtime.provider import CPU, Provider, ProviderUnavailable
from service.offline.check import main


@pytest.mark.parametrize(("wanted", "number"), [("auto", 0), ("cpu", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)])
def test_a_gpu_is_asked_for_by_its_number(wanted: str, number: int) -> None:
    assert checked_provider(wanted) == wanted
    assert wanted_gpu(wanted) == number


@pytest.mark.parametrize("wanted", ["", "CUDA", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "cpu:0", "cuda:0,1"])
def test_anything_else_is_refused_everywhere(wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="auto, cpu, cuda, or cuda:N"):
        Runtime(wanted)
    with pytest.raises(cf.ContraflowError, match="auto, cpu, cuda, or cuda:N"):
        cf.load("models/bundles/resnet20", execution_provider=wanted)
    with pytest.raises(SystemExit):
        main(["models/bundles/resnet20", "--execution-provider", wanted])
    assert "auto, cpu, cuda, or cuda:N" in capsys.readouterr().err


def test_the_cpu_is_taken_where_it_is_asked_for() -> None:
    runtime = Runtime("cpu")
    assert runtime.chosen == Provider(CPU, "asked for")
    assert (runtime.provider, runtime.reason, runtime.cuda_graphs) == (CPU, "asked for", False)
    assert str(runtime.chosen) == "CPUExecutionProvider (asked for)"


@pytest.mark.usefixtures("without_cuda")
def test_auto_takes_the_cpu_and_says_what_is_missing() -> None:
    assert Runtime("auto").provider == CPU
    assert "built without CUDA" in Runtime("auto").reason


@pytest.mark.usefixtures("without_cuda")
@pytest.mark.parametrize("wanted", ["cuda", "cuda:3"])
def test_a_gpu_that_is_asked_for_is_never_replaced(wanted: str) -> None:
    with pytest.raises(ProviderUnavailable, match=f"^execution_provider={wanted}, but this onnxruntime was built with"):
        Runtime(wanted)


def test_a_gpu_is_called_by_number_and_name() -> None:
    chosen = Provider(CUDA, "found", gpu=1, card="NVIDIA L4")
    assert str(chosen) == "CUDAExecutionProvider (found), GPU 1: NVIDIA L4"
