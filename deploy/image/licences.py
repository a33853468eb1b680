"""Print the licences of all that is in an environment, with their texts: `python -m deploy.image.licences ENVIRONMENT`.

pip-licenses takes one text per package; here every licence, notice and list of third parties that a package brings is
printed, since onnxruntime, numpy and others contain much that is not theirs. The pages' third-party files follow.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from deploy.image.vendored import vendored

TEXTS = re.compile(r"(licen[cs]e|copying|notice|thirdparty|third-party|authors)[^/]*$|/licenses/[^/]+$", re.IGNORECASE)
NO_TEXTS = (".py", ".pyc", ".so", ".json")

BASE_IMAGE = (
    "The base image's own packages are not listed here: Debian keeps their licences in the image, "
    "under /usr/share/doc/*/copyright, and Python's is in /usr/local/lib/python3.11/LICENSE.txt."
)


@dataclass(frozen=True)
class Licensed:
    """One package with its licence as it names it, and the texts that it brings, by the names of their files."""

    name: str
    version: str
    licence: str
    texts: dict[str, str]


def named_licence(distribution: Distribution) -> str:
    """Return what a package's metadata say of its licence: the expression, else the classifiers, else the free text."""
    metadata = distribution.metadata
    if expressions := metadata.get_all("License-Expression"):
        return str(expressions[0])
    classifiers = [
        line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    return ", ".join(classifiers) or str(*metadata.get_all("License", ["not said"])[:1]).splitlines()[0]


def python_packages(environment: Path) -> Iterator[Licensed]:
    """Yield the distributions of an environment, by name."""
    (packages,) = environment.glob("lib/python*/site-packages")
    found = {each.metadata["Name"]: each for each in distributions(path=[str(packages)])}
    for name, distribution in sorted(found.items(), key=lambda item: item[0].lower()):
        files = [file for file in distribution.files or [] if TEXTS.search(str(file)) and file.suffix not in NO_TEXTS]
        texts = {str(file): Path(str(file.locate())).read_text(encoding="utf-8", errors="replace") for file in files}
        yield Licensed(name, distribution.version, named_licence(distribution), texts)


def pages_packages() -> Iterator[Licensed]:
    for package in vendored():
        texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(package.folder.glob("LICENSE*"))}
        yield Licensed(package.name, package.version, package.licence, texts)


def page(packages: Iterable[Licensed]) -> str:
    """Return a page in Markdown: a table, then every text."""
    packages = list(packages)
    lines = ["# Licences of what is in the image", "", BASE_IMAGE, "", "| package | version | licence | texts |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {each.name} | {each.version} | {each.licence} | {len(each.texts) or '**none**'} |" for each in packages
    ]
    for each in packages:
        for name, text in each.texts.items():
            lines += [
                "",
                f"## {each.name} {each.version}: {name}",
                "",
                "```",
                text.rstrip().replace("```", "'''"),
                "```",
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page([*python_packages(Path(sys.argv[1])), *pages_packages()]))
