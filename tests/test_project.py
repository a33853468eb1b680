"""The project's own papers: licence, version, changelog, what runs before a commit."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from service import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_changelog_begins_with_this_version_and_its_day() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.*)$", changelog, flags=re.MULTILINE)
    released = [head for head in heads if head != "Unreleased"]
    assert re.fullmatch(rf"{re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)", released[0])


def test_the_licence_is_that_of_the_package_and_names_what_is_not_ours() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    vendored = [folder.name for folder in (ROOT / "service" / "static" / "vendor").iterdir() if folder.is_dir()]
    assert vendored
    for folder in vendored:
        name, _, version = folder.rpartition("-")
        assert re.search(rf"(?:^| |/){re.escape(name)} {re.escape(version)} ", notice, re.MULTILINE), folder


def test_what_runs_before_a_commit_is_what_make_check_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE)
    assert recipe
    checks = [line.strip().removeprefix("$(DEV)/bin/").removesuffix(" .") for line in recipe[1].splitlines()]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    before = [hook["entry"].removeprefix(".venv-dev/bin/").removesuffix(" --force-exclude") for hook in hooks]
    assert before == checks


def test_the_papers_link_to_files_that_are_there() -> None:
    for paper in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "CHANGELOG.md"):
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / paper).read_text(encoding="utf-8"))
        assert [link for link in links if not (ROOT / link).exists()] == [], paper
