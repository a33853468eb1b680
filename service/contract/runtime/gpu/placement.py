"""Which provider runs which nodes of a graph. CUDA leaves to the CPU what it has no kernel for, without a word."""

from __future__ import annotations

from collections import Counter

import onnxruntime as ort

from service.contract.runtime.gpu.cuda import CUDA


def said_of_placement(session: ort.InferenceSession) -> str:
    """Say how many nodes run on the GPU, and which on the CPU: "12 nodes run on the GPU, and on the CPU 1 × Range".

    The session was opened with `session.record_ep_graph_assignment_info`. The nodes are those before ONNX Runtime
    fuses them and puts copies between the two.
    """
    try:
        assigned = session.get_provider_graph_assignment_info()
        elsewhere = Counter(node.op_type for part in assigned if part.ep_name != CUDA for node in part.get_nodes())
        on_the_gpu = sum(len(part.get_nodes()) for part in assigned if part.ep_name == CUDA)
    except Exception as error:  # an account that fails is no reason not to serve
        return f"where its nodes run is not known: {error}"
    kinds = ", ".join(f"{count} × {operator}" for operator, count in sorted(elsewhere.items()))
    return f"{on_the_gpu} nodes run on the GPU, " + (f"and on the CPU {kinds}" if kinds else "none on the CPU")
