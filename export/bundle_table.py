"""`python -m export list`: a folder's bundles as a Markdown table, as docs/guide/train-a-network.md shows it."""

from __future__ import annotations

from pathlib import Path

from service.contract.bundle_schema import Bundle

HEAD = """\
| bundle | family | layers | normalization | activation | epochs | train error | test error | data |
|---|---|---|---|---|---|---|---|---|"""


def bundle_table(folder: Path) -> str:
    """Return a row for each bundle in `folder`; errors are those of the final weights, in percent.

    Bundles that differ in depth alone stand below each other, the deeper one last.
    """
    bundles = [Bundle.parsed(file.read_bytes()) for file in folder.glob("*/bundle.json")]
    return "\n".join([HEAD, *map(_row, sorted(bundles, key=_place))])


def _place(bundle: Bundle) -> tuple[str, str, str, int, str]:
    architecture = bundle.architecture
    kind = (architecture.normalization or "", architecture.activation or "", architecture.family)
    return *kind, len(bundle.layers), bundle.name


def _row(bundle: Bundle) -> str:
    architecture, training = bundle.architecture, bundle.training
    cells = [
        f"`{bundle.name}`",
        architecture.family,
        str(len(bundle.layers)),
        architecture.normalization or "–",
        architecture.activation or "–",
        *(
            (
                str(len(training.epochs)),
                f"{100 * training.final.train_error:.2f} %",
                f"{100 * training.final.test_error:.2f} %",
                training.data_set,
            )
            if training
            else ("–",) * 4
        ),
    ]
    return f"| {' | '.join(cells)} |"
