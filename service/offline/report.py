"""The HTML report of `python -m service diagnose`: one file, with thumbnails, that opens anywhere.

Reads the table row by row; what it keeps is bounded: the worst images, and every k-th row's norms.
"""

from __future__ import annotations

import base64
import csv
import heapq
import html
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from service.contract.bundle_schema import InputSpec
from service.diagnostics.gradients import known_dead_fractions
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.verdict import Thresholds, judge
from service.images.errors import ImageError
from service.images.preprocess import decode_whole
from service.offline.model import OfflineModel

Row = dict[str, str]

SUSPECTS: Final = 100
HARDEST: Final = 50
FOREIGN: Final = 50
SAMPLED_ROWS: Final = 20_000
THUMBNAIL: Final = 64
LAYER_PREFIX: Final = "r:"

STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #8884 }
td:first-child, th:first-child { text-align: left }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem }
ul { padding: 0; list-style: none }
li { font-size: .8rem; overflow-wrap: anywhere } img { display: block; width: 96px; height: 96px; object-fit: cover }
"""


def render(table: Path, folder: Path, model: OfflineModel) -> str:
    """The report on `table`; thumbnails are read from `folder`."""
    images, broken, wrong, labelled = 0, 0, 0, 0
    for row in rows(table):
        images += 1
        broken += bool(row["error"])
        labelled += bool(row["label"])
        wrong += bool(row["label"]) and not row["error"] and row["label"] != row["predicted"]
    suspects = worst(table, lambda row: -number(row["probability"]) if row["label"] else math.nan, SUSPECTS)
    suspects = [row for row in suspects if row["label"] != row["predicted"]]
    hardest = worst(table, lambda row: number(row["grand"]), HARDEST)
    foreign = worst(table, lambda row: number(row["layer_norm_distance"]), FOREIGN)
    spec = model.bundle.input
    title = f"{model.bundle.name}@{model.bundle.version} on {images} images"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{labelled} labelled, {wrong} of them predicted otherwise; {broken} could not be decoded.</p>",
        gallery(
            "Suspected label errors",
            "Least probable labels first: of the scores measured in docs/scores.md the best at this.",
            suspects,
            folder,
            spec,
        ),
        class_section(table),
        layer_section(table, model),
        gallery("Hardest images", "Largest gradient over all layers (GraNd).", hardest, folder, spec),
        gallery("Least like the training images", "Distance of the vector of layer norms.", foreign, folder, spec),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def rows(table: Path) -> Iterator[Row]:
    with table.open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def number(text: str) -> float:
    """NaN where there is none."""
    return float(text) if text else math.nan


def worst(table: Path, badness: Callable[[Row], float], count: int) -> list[Row]:
    """The `count` rows of largest badness, worst first; rows without one are left out. Ties by path."""
    scored = ((badness(row), row["path"], row) for row in rows(table) if not row["error"])
    kept = heapq.nsmallest(count, ((-value, path, row) for value, path, row in scored if not math.isnan(value)))
    return [row for _, _, row in kept]


def class_section(table: Path) -> str:
    """Per label: how many images, how many of them are predicted so, and what the others are taken for most."""
    counts: dict[str, Counter[str]] = {}
    for row in rows(table):
        if row["label"] and not row["error"]:
            counts.setdefault(row["label"], Counter())[row["predicted"]] += 1
    if not counts:
        return ""
    body = "".join(
        f"<tr><td>{html.escape(label)}</td><td>{predicted.total()}</td><td>{predicted[label] / predicted.total():.1%}"
        f"</td><td>{html.escape(_most_often(predicted, label))}</td></tr>"
        for label, predicted in sorted(counts.items(), key=lambda item: (item[1][item[0]] / item[1].total(), item[0]))
    )
    sizes = [predicted.total() for predicted in counts.values()]
    return (
        f"<h2>Classes</h2><p>The hardest first. {_balance(sizes)}</p>"
        "<table><tr><th>label</th><th>images</th><th>predicted so</th><th>else most often</th></tr>"
        f"{body}</table>"
    )


def _balance(sizes: list[int]) -> str:
    if max(sizes) == min(sizes):
        return f"Every class has {sizes[0]} images."
    return f"The largest class has {max(sizes) / min(sizes):.3g} times the images of the smallest."


def _most_often(predicted: Counter[str], label: str) -> str:
    others = Counter({name: count for name, count in predicted.items() if name != label})
    return ", ".join(f"{name} {count}" for name, count in others.most_common(2)) or "–"


def layer_section(table: Path, model: OfflineModel) -> str:
    """The verdict on every k-th row, and the layers from worst to best."""
    layers = model.bundle.layers
    total = sum(1 for _ in rows(table))
    step = max(1, math.ceil(total / SAMPLED_ROWS))
    kept = [row for index, row in enumerate(rows(table)) if index % step == 0 and not row["error"]]
    if not kept:
        return "<p>No image could be decoded.</p>"
    relative = np.array([[number(row[LAYER_PREFIX + layer.name]) for layer in layers] for row in kept])
    sizes = np.array([number(row["logit_gradient_norm"]) for row in kept])
    dead, dead_images = known_dead_fractions(model.bundle, None)
    evidence = Evidence(
        names=[layer.name for layer in layers],
        depths=[layer.depth for layer in layers],
        relative=relative,
        saturated=np.isnan(relative).all(axis=1) & np.isfinite(sizes),
        dead_fraction=dead,
        dead_images=dead_images,
        mean_gradient=np.full(len(layers), np.nan),
    )
    verdict, states = judge(evidence, Thresholds())
    with np.errstate(invalid="ignore"):
        low, middle, high = np.nanquantile(relative, (0.05, 0.5, 0.95), axis=0)
    far = np.abs(np.log10(np.maximum(middle, 1e-300)) - np.median(np.log10(np.maximum(middle, 1e-300))))
    body = "".join(
        f"<tr><td>{html.escape(layers[i].name)}</td><td>{layers[i].depth}</td><td>{low[i]:.3g}</td>"
        f"<td>{middle[i]:.3g}</td><td>{high[i]:.3g}</td><td>{states[i]}</td></tr>"
        for i in np.argsort(-far, kind="stable")
    )
    return (
        f"<h2>Layers: {html.escape(verdict.state)}</h2><p>{html.escape(verdict.because)}</p>"
        "<p>Scaled gradient norm over ‖dL/dlogits‖, over the images; the layers farthest from the others first.</p>"
        "<table><tr><th>layer</th><th>depth</th><th>5 %</th><th>median</th><th>95 %</th><th>verdict</th></tr>"
        f"{body}</table>"
    )


def gallery(title: str, explanation: str, chosen: list[Row], folder: Path, spec: InputSpec) -> str:
    if not chosen:
        return ""
    items = "".join(
        f'<li><img alt="" src="{thumbnail(folder / row["path"], spec)}">{html.escape(row["path"])}<br>'
        f"labelled {html.escape(row['label'] or '–')}, predicted {html.escape(row['predicted'])} "
        f"({number(row['max_probability']):.0%}); loss {number(row['loss']):.3g}</li>"
        for row in chosen
    )
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(explanation)}</p><ul>{items}</ul>"


def thumbnail(path: Path, spec: InputSpec) -> str:
    """A data URL of the picture as the model sees it, uncropped; nothing where the file is gone or broken."""
    try:
        pixels = decode_whole(path.read_bytes(), spec)
    except (OSError, ImageError):  # the row says what was wrong
        return ""
    small = Image.fromarray(pixels if spec.channels == 3 else pixels[..., 0])
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
