"""The options of the CUDA provider, which differ from ONNX Runtime's own where its defaults do not do."""

from __future__ import annotations

from service.contract.runtime.gpu.cuda import provider_options


def test_a_gpu_computes_in_float32_and_is_named() -> None:
    options = provider_options(3, None, cuda_graph=False)
    assert (options["device_id"], options["use_tf32"], options["enable_cuda_graph"]) == ("3", "0", "0")
    assert "gpu_mem_limit" not in options
    assert all(isinstance(value, str) for value in options.values())


def test_a_limit_and_graphs_are_passed_on() -> None:
    options = provider_options(0, 8 * 10**9, cuda_graph=True)
    assert (options["gpu_mem_limit"], options["enable_cuda_graph"]) == ("8000000000", "1")
