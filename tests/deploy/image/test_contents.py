"""The lists of what is in the image: the bill of materials, and the licences with their texts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.image.bill_of_materials import complete
from deploy.image.licences import page, pages_packages, python_packages
from deploy.image.vendored import FOLDER, vendored
from service import __version__
from tests.deploy.manifests import ROOT


def test_every_folder_of_third_party_files_is_in_the_table() -> None:
    assert {package.folder for package in vendored()} == {path for path in FOLDER.iterdir() if path.is_dir()}


def test_the_bill_of_materials_has_our_version_and_the_pages_packages() -> None:
    root = {"bom-ref": "root-component", "type": "application", "name": "contraflow"}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {"component": root},
        "components": [{"bom-ref": "numpy==2.4.6", "type": "library", "name": "numpy", "version": "2.4.6"}],
        "dependencies": [{"ref": "numpy==2.4.6"}, {"ref": "root-component", "dependsOn": ["numpy==2.4.6"]}],
    }
    completed = complete(bill)
    assert completed["metadata"]["component"]["version"] == __version__
    assert [entry["name"] for entry in completed["components"]] == ["numpy", *(each.name for each in vendored())]
    (of_root,) = [entry for entry in completed["dependencies"] if entry["ref"] == "root-component"]
    assert "pkg:npm/%40observablehq/plot@0.6.17" in of_root["dependsOn"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(completed)) is None


def test_every_licence_text_of_a_package_is_printed(tmp_path: Path) -> None:
    """One that names a licence and brings none stands out."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, files in {
        "plain": {},
        "rich": {"rich.dist-info/LICENSE": "Mine.", "rich/ThirdPartyNotices.txt": "Theirs."},
    }.items():
        files = {f"{name}.dist-info/METADATA": f"Name: {name}\nVersion: 1\nLicense-Expression: MIT\n", **files}
        files[f"{name}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
        for path, text in files.items():
            (packages / path).parent.mkdir(parents=True, exist_ok=True)
            (packages / path).write_text(text)
    text = page(python_packages(tmp_path))
    assert "| plain | 1 | MIT | **none** |\n| rich | 1 | MIT | 2 |\n" in text
    assert "Mine." in text
    assert "Theirs." in text


def test_the_pages_packages_bring_their_licences() -> None:
    for package in pages_packages():
        assert package.texts, package.name


def test_the_environment_that_is_listed_is_that_of_the_image() -> None:
    (extras,) = re.findall(r"^EXTRAS \?= (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"dependencies.py {extras} >" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    command = [sys.executable, "deploy/image/dependencies.py", *extras.split()]
    assert "onnxruntime\n" in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
