"""Make targets and files that the README names exist, and its tables are those of the bundles."""

from __future__ import annotations

import re
from pathlib import Path

from export.bundle_table import bundle_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_table_of_shipped_bundles_is_theirs() -> None:
    assert bundle_table(ROOT / "models" / "bundles") in README


def test_what_the_readme_says_of_depth_is_what_the_shipped_bundles_show() -> None:
    table = re.findall(r"^\| `(\w+)` .* \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \|", README, flags=re.MULTILINE)
    nets = {name: (int(epochs), float(train), float(test)) for name, epochs, train, test in table[:4]}
    assert list(nets) == ["plain20", "plain56", "resnet20", "resnet56"]
    assert len({epochs for epochs, _, _ in nets.values()}) == 1
    for split in (1, 2):
        assert nets["plain56"][split] > nets["plain20"][split]
        assert nets["resnet56"][split] < nets["resnet20"][split]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+(?:-[a-z]+)*)", README))
    assert named
    assert named <= targets


def test_every_linked_file_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
