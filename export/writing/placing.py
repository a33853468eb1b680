"""The folder of a bundle, from its name and version; and what is there already.

<bundles>/<name>/             the only version
<bundles>/<name>/<version>/   one of several; one may lie in <name>/ itself, beside them
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.graph.errors import GradientError
from export.writing.bundle import read_description
from service.contract.bundle_schema import BUNDLE_FILE

FIRST = "1"


class PlaceTaken(GradientError):
    """A bundle cannot be written where it belongs, because something is there."""


@dataclass(frozen=True)
class Place:
    """The folder that a version of a bundle is written into.

    `superseded` is the folder above it where that holds the same version, which goes once the new one is there.
    """

    folder: Path
    version: str
    superseded: Path | None = None

    def clear_superseded(self) -> None:
        """Remove the files of the version that was replaced; folders of other versions beside them stay."""
        if self.superseded is None:
            return
        (self.superseded / BUNDLE_FILE).unlink(missing_ok=True)  # first, so that nobody reads half a bundle
        for file in self.superseded.iterdir():
            if not file.is_dir():
                file.unlink()


def place_of(bundles: Path, name: str, version: str | None, *, replace: bool) -> Place:
    """Find the place of a bundle; `version` None is the first version, or the only one.

    Raises PlaceTaken where the version is there already and `replace` is not said, or something else lies there.
    """
    wanted = version or FIRST
    top = bundles / name
    own = _version_in(top)
    numbered = {path.name: path for path in _versions_below(top)}
    if wanted in {own, *numbered} and not replace:
        following = max(int(number) for number in {own or FIRST, *numbered}) + 1
        raise PlaceTaken(
            f"{top}: version {wanted} of {name} is there already; say --replace to replace it, "
            f"or --version {following} to keep both"
        )
    if own == wanted and numbered:
        return Place(top / wanted, wanted, superseded=top)
    if own == wanted or (version is None and own is None and not numbered):
        return Place(_free(top), wanted)
    return Place(_free(top / wanted), wanted)


def _version_in(folder: Path) -> str | None:
    """Return the version of the bundle in a folder; None where there is none."""
    if not (folder / BUNDLE_FILE).is_file():
        return None
    try:
        return read_description(folder).version
    except ValueError:
        return FIRST  # a bundle that cannot be read is replaced like one that can


def _versions_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.isdecimal() and (path / BUNDLE_FILE).is_file()]


def _free(folder: Path) -> Path:
    """Return the folder; PlaceTaken where something lies in it that is no bundle, which would be lost."""
    if folder.exists() and not (folder / BUNDLE_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise PlaceTaken(f"{folder} is there and is no bundle; choose another --out or --name")
    return folder
