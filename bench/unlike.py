"""The alerts that `sample_gradients` raises for live images of several kinds → docs/reports/live-images.md.

It needs no data set, but the photographs of `service/static/samples`, which no network was trained on, and what is
made of them here. It takes seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from bench.harness.page import made_by, parser_of, publish, table
from bench.harness.paths import DOCS, ROOT, SHIPPED
from service.bundles.reference import read_reference
from service.contract.arrays import Pixels
from service.contract.runtime.opening import Runtime
from service.diagnostics.baseline import LAYER_SHARE, MODEL_SHARE
from service.diagnostics.measurement import measure_gradients
from service.monitoring.live import LiveGradients
from service.offline.model import OfflineModel

COMMAND = "python -m bench.unlike"
UNFAMILIAR = 1.3
"""The example alert's threshold for `contraflow_layer_norm_distance` (deploy/prometheus/rules.yml)."""
SEED = 0


def kinds(photographs: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Yield images as they may come to reach a model, from harmless to foreign: uint8 [n, h, w, 3] each."""
    rng = np.random.default_rng(SEED)
    _, height, width, _ = photographs.shape
    yield "photographs", photographs
    yield "mirrored", photographs[:, :, ::-1]
    yield "red and blue swapped", photographs[..., ::-1]
    yield "inverted", 255 - photographs
    yield "a tenth of the contrast", (128 + (photographs.astype(np.float64) - 128) / 10).astype(np.uint8)
    yield "an eighth of the light", photographs // 8
    yield "red channel alone", photographs * np.array([1, 0, 0], np.uint8)
    yield "one colour", np.broadcast_to(rng.integers(0, 256, (12, 1, 1, 3), np.uint8), (12, height, width, 3))
    yield "uniform noise", rng.integers(0, 256, (12, height, width, 3), np.uint8)
    yield "black and white noise", np.repeat(255 * rng.integers(0, 2, (12, height, width, 1), np.uint8), 3, axis=3)


def watched(model: OfflineModel, pixels: Pixels) -> LiveGradients:
    """Return the gauges' numbers once these images have been sampled, one by one as the service does."""
    live = LiveGradients(model.bundle, read_reference(model.stored))
    for image in pixels:
        sample = np.ascontiguousarray(image[None])
        live.add(asyncio.run(measure_gradients(model.run, model.bundle, sample, np.full(1, -1, np.int64))))
    return live


def row(name: str, kind: str, live: LiveGradients) -> str:
    """Return the figures of one kind of images, and the alerts that they would fire."""
    outside = [layer.baseline.outside_share for layer in live.layers() if layer.baseline is not None]
    layers = float(np.mean([share > LAYER_SHARE for share in outside]))
    distance = live.distance
    fired = ["unfamiliar images"] if distance is not None and distance > UNFAMILIAR else []
    fired += ["unlike itself"] if layers > MODEL_SHARE else []
    shown = "–" if distance is None else f"{distance:.2f}"
    return f"{name} | {kind} | {shown} | {layers:.0%} | {', '.join(fired) or 'none'}"


def photographs_in(folder: Path, height: int, width: int) -> Pixels:
    files = sorted(folder.glob("*.jpg"))
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((width, height))) for file in files])


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "live-images.md")
    parser.add_argument("--bundles", type=Path, default=SHIPPED)
    parser.add_argument("--models", nargs="+", default=["resnet20", "plain20", "resnet56"])
    parser.add_argument("--images", type=Path, default=ROOT / "service" / "static" / "samples")
    options = parser.parse_args()
    runtime = Runtime("cpu")
    rows = []
    for name in options.models:
        model = OfflineModel(options.bundles / name, runtime)
        spec = model.bundle.input
        for kind, pixels in kinds(photographs_in(options.images, spec.height, spec.width)):
            rows.append(row(name, kind, watched(model, pixels)))
            print(rows[-1], flush=True)
    rule = f"*unlike itself* when in over {MODEL_SHARE:.0%} of the layers over {LAYER_SHARE:.0%} of the images"
    introduction = (
        f"{made_by(COMMAND)}. *Unfamiliar images* fires above a distance of {UNFAMILIAR},\n"
        f"{rule} are outside their range."
    )
    figures = table("model | live images | distance | layers outside | alerts", rows)
    publish(options, COMMAND, f"{introduction}\n\n{figures}")


if __name__ == "__main__":
    main()
