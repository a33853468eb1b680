"""The HTML report of `python -m service diagnose`: one file with thumbnails, which any browser opens.

The table is read row by row. Only the worst images and the norms of every k-th row are kept in memory.
"""

from __future__ import annotations

import base64
import heapq
import html
import io
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from service.contract.bundle_schema import Bundle, InputSpec
from service.diagnostics.gradients import known_dead_fractions, rectified
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.verdicts.verdict import judge
from service.images.errors import ImageError
from service.images.preprocess import decode_whole
from service.offline.model import OfflineModel
from service.offline.table import LAYER_PREFIX, SERVED, Row, has_served, predicted_labels, rows

SUSPECTS: Final = 100
HARDEST: Final = 50
FOREIGN: Final = 50
SAMPLED_ROWS: Final = 20_000
"""Most rows whose norms the verdict is based on."""
THUMBNAIL: Final = 64
"""Pixels along the longer side."""

REPORT_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #8884 }
td:first-child, th:first-child { text-align: left }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem }
ul { padding: 0; list-style: none }
li { font-size: .8rem; overflow-wrap: anywhere } img { display: block; width: 96px; height: 96px; object-fit: cover }
"""


def render(table: Path, folder: Path, model: OfflineModel) -> str:
    """Return the report on `table`, with thumbnails of the images in `folder`."""
    images, broken, wrong, labelled, otherwise, bundle = 0, 0, 0, 0, 0, model.bundle
    for row in rows(table):
        images += 1
        broken += bool(row["error"])
        labelled += bool(row["label"])
        otherwise += not row["error"] and row.get(SERVED, row["predicted"]) != row["predicted"]
        wrong += bool(row["label"]) and not row["error"] and row["label"] not in predicted_labels(row, bundle)
    suspects = worst(table, lambda row: -parsed(row["probability"]) if row["label"] else math.nan, SUSPECTS)
    suspects = [row for row in suspects if row["label"] not in predicted_labels(row, bundle)]
    hardest = worst(table, lambda row: parsed(row["grand"]), HARDEST)
    foreign = worst(table, lambda row: parsed(row["layer_norm_distance"]), FOREIGN)
    spec = model.bundle.input
    title = f"{model.bundle.name}@{model.bundle.version} on {images} images"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{labelled} labelled, {wrong} of them predicted otherwise; {broken} could not be decoded.</p>",
        network_section(bundle, otherwise),
        gallery(
            "Suspected label errors",
            "The least probable labels first: of the scores in docs/scores.md, this one finds label errors best.",
            suspects,
            folder,
            spec,
        ),
        class_section(table, bundle),
        layer_section(table, model),
        gallery("Hardest images", "Largest gradient over all layers (GraNd).", hardest, folder, spec),
        gallery("Least like the training images", "Distance of the vector of layer norms.", foreign, folder, spec),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{REPORT_STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def network_section(bundle: Bundle, otherwise: int) -> str:
    """Return, of an int8 model, which network the report is of, and for how many images /predict answers otherwise."""
    if bundle.quantized is None:
        return ""
    count = f". The two disagree on {otherwise} images of the table" if has_served(bundle) else ""
    return f"<p>{html.escape(bundle.quantized.of_network + count)}.</p>"


def parsed(cell: str) -> float:
    """Return the number in a cell; NaN if the cell is empty."""
    return float(cell) if cell else math.nan


def worst(table: Path, badness: Callable[[Row], float], count: int) -> list[Row]:
    """Return the `count` rows of largest badness, worst first, ties by path, without those whose badness is NaN."""
    scored = ((badness(row), row["path"], row) for row in rows(table) if not row["error"])
    kept = heapq.nsmallest(count, ((-value, path, row) for value, path, row in scored if not math.isnan(value)))
    return [row for _, _, row in kept]


def class_section(table: Path, bundle: Bundle) -> str:
    """Return a table of the labels: how many images, how many are predicted right, and as what the others are."""
    images: Counter[str] = Counter()
    predicted: dict[str, Counter[str]] = {}
    for row in rows(table):
        if row["label"] and not row["error"]:
            images[row["label"]] += 1
            predicted.setdefault(row["label"], Counter()).update(predicted_labels(row, bundle))
    if not images:
        return ""
    shares = {label: predicted[label][label] / count for label, count in images.items()}
    body = "".join(
        f"<tr><td>{html.escape(label)}</td><td>{images[label]}</td><td>{share:.1%}"
        f"</td><td>{html.escape(_most_often(predicted[label], label))}</td></tr>"
        for label, share in sorted(shares.items(), key=lambda item: (item[1], item[0]))
    )
    others = "else most often" if bundle.label_kind == "exclusive" else "beside it most often"
    return (
        f"<h2>Classes</h2><p>The hardest first. {_balance(list(images.values()))}</p>"
        f"<table><tr><th>label</th><th>images</th><th>predicted so</th><th>{others}</th></tr>"
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
    """Return the verdict on every k-th row, and a table of the layers from the worst to the best."""
    layers = model.bundle.layers
    total = sum(1 for _ in rows(table))
    step = max(1, math.ceil(total / SAMPLED_ROWS))
    kept = [row for index, row in enumerate(rows(table)) if index % step == 0 and not row["error"]]
    if not kept:
        return "<p>No image could be decoded.</p>"
    relative = np.array([[parsed(row[LAYER_PREFIX + layer.name]) for layer in layers] for row in kept])
    sizes = np.array([parsed(row["logit_gradient_norm"]) for row in kept])
    dead, dead_images = known_dead_fractions(model.bundle, None)
    evidence = Evidence(
        names=[layer.name for layer in layers],
        depths=[layer.depth for layer in layers],
        relative=relative,
        saturated=np.isnan(relative).all(axis=1) & np.isfinite(sizes),
        finite_logits=np.isfinite(sizes),
        rectified=rectified(model.bundle),
        dead_fraction=dead,
        dead_images=dead_images,
        dead_recorded=True,
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
        f"labelled {html.escape(row['label'] or '–')}, predicted {html.escape(row['predicted'] or 'none')} "
        f"({parsed(row['max_probability']):.0%}); loss {parsed(row['loss']):.3g}</li>"
        for row in chosen
    )
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(explanation)}</p><ul>{items}</ul>"


def thumbnail(path: Path, spec: InputSpec) -> str:
    """Return a data URL of the picture, uncropped; an empty string if the file is gone or broken."""
    try:
        pixels = decode_whole(path.read_bytes(), spec)
    except (OSError, ImageError):  # the row says what was wrong
        return ""
    small = Image.fromarray(pixels if spec.channels == 3 else pixels[..., 0])
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
