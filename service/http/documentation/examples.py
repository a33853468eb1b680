"""Contents of the examples in the OpenAPI document: pictures that we ship, names that are served, answers that came.

Requests name models that are served now, so that they work as they stand. Answers are those of the shipped `resnet20`
to the same requests: `python -m bench.examples` sends them and writes `answers.json`, shortened.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from service.bundles.registry import Registry
from service.http.answers.openapi import A_MODEL, A_PICTURE, ANOTHER_PICTURE, ITS_VERSION, MARKS, TWO_MODELS

ANSWERS: Final = Path(__file__).with_name("answers.json")
SAMPLES: Final = Path(__file__).resolve().parents[2] / "static" / "samples"
PICTURES: Final = {A_PICTURE: SAMPLES / "ship.jpg", ANOTHER_PICTURE: SAMPLES / "horse.jpg"}


def answers() -> dict[str, Any]:
    """Return an answer by operation: what the service answered to the example of the request."""
    found: dict[str, Any] = json.loads(ANSWERS.read_bytes())
    return found


def pictures() -> dict[str, str]:
    """Return the pictures for the placeholders, in base64."""
    return {mark: base64.b64encode(file.read_bytes()).decode() for mark, file in PICTURES.items()}


def served_names(registry: Registry) -> dict[str, Any]:
    """Return the names for the placeholders: the default model if it is served, else another one; {} if none is."""
    models = registry.default_models() or registry.models()
    if not models:
        return {}
    name = models[0].name
    version, kind = [(model.version, model.bundle.label_kind) for model in models if model.name == name][-1]
    alike = [other.name for other in registry.models() if other.name != name and other.bundle.label_kind == kind]
    return {A_MODEL: name, ITS_VERSION: version, TWO_MODELS: [name, *(alike[:1] or [f"{name}@{version}"])]}


def filled(value: Any, given: Mapping[str, Any]) -> Any:
    """Return a copy with what is `given` in place of the placeholders; a member without it is left out."""
    if isinstance(value, dict):
        return {
            key: filled(item, given)
            for key, item in value.items()
            if not (isinstance(item, str) and item in MARKS and item not in given)
        }
    if isinstance(value, list):
        return [filled(item, given) for item in value]
    return given.get(value, value) if isinstance(value, str) else value
