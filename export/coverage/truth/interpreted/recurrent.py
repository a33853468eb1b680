"""The LSTM, step by step by torch's functions."""

from __future__ import annotations

import torch
from onnx import NodeProto
from torch import Tensor

from export.coverage.truth.interpreted.attributes import Attributes, Function, unknown


def _lstm(
    node: NodeProto,
    given: Attributes,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    *states: Tensor | None,
) -> tuple[Tensor, ...]:
    """Run over x [steps, n, features]; ONNX stacks the gates as input, output, forget, cell.

    Returns y [steps, directions, n, hidden], and the last hidden and cell states [directions, n, hidden].
    """
    unusual = {name for name, value in given.items() if name not in ("hidden_size", "direction") and value}
    if unusual or lengths is not None or any(state is not None for state in states[2:]):
        raise unknown("such attributes or operands", node)
    ways = {b"forward": (False,), b"reverse": (True,), b"bidirectional": (False, True)}
    outputs, hiddens, cells = [], [], []
    for number, backwards in enumerate(ways[given.get("direction", b"forward")]):
        zeros = x.new_zeros(x.shape[1], recurrence.shape[2])
        hidden, cell = (
            zeros if len(states) <= place or (state := states[place]) is None else state[number] for place in (0, 1)
        )
        added = 0 if bias is None else sum(bias[number].chunk(2))
        steps: list[Tensor] = []
        for step in reversed(x) if backwards else x:
            gates = step @ weight[number].T + hidden @ recurrence[number].T + added
            entering, leaving, kept, new = gates.chunk(4, dim=-1)
            cell = kept.sigmoid() * cell + entering.sigmoid() * new.tanh()
            hidden = leaving.sigmoid() * cell.tanh()
            steps.append(hidden)
        outputs.append(torch.stack(steps[::-1] if backwards else steps))
        hiddens.append(hidden)
        cells.append(cell)
    return torch.stack(outputs, dim=1), torch.stack(hiddens), torch.stack(cells)


FUNCTIONS: dict[str, Function] = {"LSTM": _lstm}
