"""Every format says the same of four models: healthy, with two findings, half looked at, unusable."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from service.diagnostics.schemas.verdict import Verdict
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.verdicts.verdict import judge
from service.offline.formats import FORMATS
from service.offline.outcome import Judged, LookedAt, Outcome, UndecodableFile, Unusable

LAYERS = ["stem\x07", "a|b<c>", "block.1", "block.2", "classifier"]


def verdict(decades: float = 1.0, dead: float = 0.0, images: int = 20) -> Verdict:
    evidence = Evidence(
        names=LAYERS,
        depths=range(1, 6),
        relative=np.full((images, 5), 10.0**decades),
        saturated=np.zeros(images, bool),
        finite_logits=np.ones(images, bool),
        rectified=np.ones(5, bool),
        dead_fraction=np.array([0, dead, 0, 0, 0]),
        dead_images=images,
        mean_gradient=np.full(5, 1e-3),
    )
    return judge(evidence, Thresholds())[0]


def judged(name: str, found: Verdict, **images: Any) -> Judged:
    seen = LookedAt(**{"count": 20, "height": 8, "width": 8, "folder": None, **images})
    return Judged(path=f"models/{name} 1.onnx", model=name, version="1", bundle="0" * 12, images=seen, verdict=found)


BROKEN = [UndecodableFile(path="a&b\x07.jpg", reason="The data is cut short")]
OUTCOMES: list[Outcome] = [
    judged("fine", verdict()),
    judged("sick", verdict(decades=6.0, dead=0.75), folder="data", undecodable=BROKEN),
    judged("half", verdict(images=12)),
    Unusable(path="/gone/net.onnx", error="there is no file or folder /gone/net.onnx"),
]
STATES = ["healthy", "exploding", "healthy, as far as was looked"]


def test_text_begins_with_the_state_of_each() -> None:
    lines = FORMATS["text"](OUTCOMES).splitlines()
    heads = [line for line in lines if not line.startswith("  ")]
    assert [head.split(". ")[0] for head in heads[:3]] == [
        f"{name}@1: {state}" for name, state in zip(("fine", "sick", "half"), STATES, strict=True)
    ]
    assert heads[3] == "/gone/net.onnx: cannot be judged: there is no file or folder /gone/net.onnx"
    sick = lines[lines.index(heads[1]) : lines.index(heads[2])]
    assert [line.split(":")[0] for line in sick[1:]] == [
        "  What it means",
        "  What to try",
        "  Also dead",
        "  Looked at",
    ]
    assert sick[2].endswith("[more at docs/reference/verdicts.md#exploding]")
    assert "75 % of the channels" in sick[3]


def test_json_has_the_fields_of_the_service() -> None:
    found = json.loads(FORMATS["json"](OUTCOMES))
    assert found["exit_status"] == 2
    assert [model["model"] for model in found["models"]] == ["fine", "sick", "half"]
    assert found["models"][1]["verdict"] == json.loads(verdict(decades=6.0, dead=0.75).model_dump_json())
    assert found["unusable"][0]["path"] == "/gone/net.onnx"


def test_junit_has_a_case_for_every_finding() -> None:
    top = ElementTree.fromstring(FORMATS["junit"](OUTCOMES))
    assert [suite.get("name") for suite in top] == [
        f"contraflow check: {name}@1" for name in ("fine", "sick", "half")
    ] + ["contraflow check: /gone/net.onnx"]
    ended = {
        (str(case.get("classname")), str(case.get("name"))): [ending.tag for ending in case]
        for case in top.iter("testcase")
    }
    assert ended["sick@1", "not exploding"] == ended["sick@1", "not dead"] == ["failure"]
    assert ended["half@1", "not dead"] == ended["/gone/net.onnx", "can be judged"] == ["error"]
    assert sum(ending == [] for ending in ended.values()) == 5 + 3 + 4
    assert {name: top.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "16", "failures": "2", "errors": "2", "skipped": "0",
    }  # fmt: skip


def test_sarif_points_at_files_and_known_rules() -> None:
    log = json.loads(FORMATS["sarif"](OUTCOMES))
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert (log["version"], len(rules)) == ("2.1.0", len(set(rules)))
    assert run["invocations"] == [{"executionSuccessful": False, "exitCode": 2}]
    found = [(one["ruleId"], one["level"]) for one in run["results"]]
    assert found == [
        ("exploding/size", "error"), ("dead/units", "error"), ("not-looked-for", "warning"), ("unusable", "error"),
    ]  # fmt: skip
    for one in run["results"]:
        assert rules[one["ruleIndex"]] == one["ruleId"]
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]]
    assert places == ["models/sick%201.onnx"] * 2 + ["models/half%201.onnx", "file:///gone/net.onnx"]
    assert run["results"][1]["locations"][0]["logicalLocations"] == [{"name": "a|b<c>", "kind": "layer"}]
    marks = {one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]}
    assert len(marks) == len(found)


def test_markdown_is_a_table_that_no_name_breaks() -> None:
    lines = FORMATS["markdown"](OUTCOMES).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert [row.replace(r"\|", "").count("|") for row in rows] == [4] * 5
    assert rows[2].startswith("| sick@1 | **exploding** | ")
    assert rows[1].split(" | ")[1] == "healthy"
    assert r"In layer a\|b&lt;c&gt;, 75 % of the channels" in "\n".join(lines)
    assert lines.count("</details>") == 3


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_lets_a_control_character_through(name: str) -> None:
    document = FORMATS[name](OUTCOMES)
    assert document.endswith("\n")
    assert all(character.isprintable() or character == "\n" for character in document)
    assert "the activations of 12 images are known, and 16 images are needed" in document
