"""`python -m models deeper`: keep the training records of networks too large to ship, for the section on degradation.

Of a run's gradient norms, those of one epoch are kept: where the weakest layer is furthest below the median one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.phenomena.degradation import weakest_share

FILE = "degradation-deeper.json"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb `deeper`."""
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs, such as models/runs/plain110")
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help=f"folder whose figures/{FILE} is written (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Write what is kept of the runs, by model; the file holds these runs and no others."""
    records = [json.loads((folder / "training.json").read_text(encoding="utf-8")) for folder in options.runs]
    file = options.docs / "figures" / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({record["model"]: kept(record) for record in records}, indent=1) + "\n")
    return 0


def read(docs: Path) -> dict[str, Any]:
    """Read the records that `docs` holds, by model; none where nobody has kept any."""
    file = docs / "figures" / FILE
    records: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return records


def kept(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe, the errors of every epoch and the gradient norms of the epoch with the weakest layer."""
    worst = min(record["epochs"], key=lambda epoch: weakest_share(epoch["gradient_norms"]))
    epochs = [
        {name: epoch[name] for name in ("epoch", "train_error", "test_error")}
        | {"gradient_norms": epoch["gradient_norms"] if epoch is worst else {}}
        for epoch in record["epochs"]
    ]
    return {name: record[name] for name in ("data_set", "recipe", "seed", "final")} | {"epochs": epochs}
