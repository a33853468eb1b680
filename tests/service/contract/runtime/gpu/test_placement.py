"""The words for where a graph's nodes run; on a machine without a GPU, all of them run on the CPU."""

from __future__ import annotations

import onnxruntime

from service.contract.runtime.gpu.placement import said_of_placement

GRAPH = "models/bundles/resnet20/forward.onnx"


def test_nodes_on_the_cpu_are_named_by_their_operators() -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    said = said_of_placement(onnxruntime.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"]))
    assert said.startswith("0 nodes run on the GPU, and on the CPU ")
    assert "1 × Gemm" in said


def test_an_account_that_was_not_kept_is_no_error() -> None:
    session = onnxruntime.InferenceSession(GRAPH, providers=["CPUExecutionProvider"])
    assert said_of_placement(session).startswith("where its nodes run is not known: ")
