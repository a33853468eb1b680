"""`docs/guide/train-a-network.md` lists the shipped bundles as they are."""

from __future__ import annotations

import re
from pathlib import Path

from export.bundle_table import bundle_table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide/train-a-network.md").read_text(encoding="utf-8")


def test_the_table_of_shipped_bundles_is_theirs() -> None:
    assert bundle_table(ROOT / "models" / "bundles") in PAGE


def test_what_the_page_says_of_depth_is_what_the_shipped_bundles_show() -> None:
    assert "Without shortcuts, the network of 56 layers has higher errors than the one of 20" in PAGE
    table = re.findall(r"^\| `(\w+)` .* \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \|", PAGE, flags=re.MULTILINE)
    nets = {name: (int(epochs), float(train), float(test)) for name, epochs, train, test in table[:4]}
    assert list(nets) == ["plain20", "plain56", "resnet20", "resnet56"]
    assert len({epochs for epochs, _, _ in nets.values()}) == 1
    for split in (1, 2):
        assert nets["plain56"][split] > nets["plain20"][split]
        assert nets["resnet56"][split] < nets["resnet20"][split]
