"""The pages of the documentation, and the blocks of code in them.

A block is `sh`, `python`, `yaml`, `json`, `toml` or `text`. A block with a `title` is a file of that name. A comment
`<!-- not run: REASON -->` on the line before a block says why the tests leave it out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
EXECUTED: Final = (
    ROOT / "README.md",
    *sorted((DOCS / "guide").glob("*.md")),
    *sorted((DOCS / "reference").glob("*.md")),
)
"""The pages whose blocks are run."""

REASONS: Final = {
    "needs a container engine",
    "needs a GPU",
    "needs Kubernetes",
    "needs the internet",
    "installs packages",
    "takes minutes",
    "takes an optional package",
    "is an excerpt",
}
"""The reasons for which a block may be left out."""

_BLOCK: Final = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>.*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?P<attributes>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        language: what the fence names.
        code: the lines of the block, without the indentation of its fence.
        title: the file that the block is, or "".
        reason: why it is not run, or "".
    """

    language: str
    code: str
    title: str
    reason: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    return [_block(match) for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


def _block(match: re.Match[str]) -> Block:
    title = re.search(r'title="([^"]+)"', match["attributes"])
    code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
    return Block(match["language"], code, title[1] if title else "", match["reason"] or "")
