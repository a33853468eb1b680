"""The verbs of the command line: listed one a line, and each names itself as it was typed."""

from __future__ import annotations

import contextlib
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from contraflow.__main__ import VERBS, main
from service import __version__
from service.output.extras import EXTRAS, how_to_install


def test_help_has_one_line_for_each_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out.partition("VERB\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in shown] == [*VERBS, "version"]
    assert all(re.fullmatch(r"    \w+ +\S.+", line) for line in shown), "a summary takes two lines"


@pytest.mark.parametrize("word", ["version", "--version"])
def test_the_version_is_the_service_s(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        assert main([word]) == 0
    assert capsys.readouterr().out == f"contraflow {__version__}\n"


@pytest.mark.parametrize("program", ["contraflow", "python -m contraflow"])
@pytest.mark.parametrize("verb", VERBS)
def test_usage_and_errors_name_what_was_typed(verb: str, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    required = {"train": ["--model", "resnet8", "--data", "d"], "diagnose": ["--bundle", "b", "--data", "d"]}
    for words, status in (["--help"], 0), (["--nonsense", *required.get(verb, [])], 2):
        with pytest.raises(SystemExit, match=str(status)):
            main([verb, *words], program)
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: {program} {verb} ")
    assert f"{program} {verb}: error: " in shown.err


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("service", ["check"]),
        ("service", ["diagnose"]),
        ("export", ["onnx"]),
        ("export", ["record"]),
        ("models", ["train"]),
        ("models", ["seeds"]),
        ("service", []),
        ("export", []),
        ("models", []),
    ],
)
def test_a_package_names_itself_too(package: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        import_module(f"{package}.__main__").main([*words, "--nonsense"])
    assert f"{' '.join(['python -m', package, *words])}: error: " in capsys.readouterr().err


def test_a_verb_that_is_none_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["predict"], ["--bundles", "check"], ["version", "2"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert "contraflow: error: " in capsys.readouterr().err


OTHERWISE_CALLED = {
    "yaml": "pyyaml",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-http",
}
"""Package → its distribution."""


def test_every_package_of_an_extra_is_named_with_it() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    bringing = {extra: project["optional-dependencies"][extra] for extra in ("cpu", "export", "train", "telemetry")}
    distributions = {package: OTHERWISE_CALLED.get(package, package) for package in EXTRAS}
    assert set(distributions.values()) == set().union(*bringing.values())
    for package, extra in EXTRAS.items():
        assert distributions[package] in bringing[extra]
        advice = how_to_install(f"{package}.part")
        assert advice == f"{package} is not installed: pip install 'contraflow[{extra}]'"
    assert how_to_install("fastapi") is None
    assert how_to_install(None) is None
