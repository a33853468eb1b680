"""What `sample_gradients` notices: live images of several kinds, through the gauges → docs/monitoring.md.

Needs no data set: the photographs of `service/static/samples`, which no network was trained on, and what is made of
them here. Takes seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.bundles.reference import read_reference
from service.contract.runtime import Runtime
from service.diagnostics.baseline import LAYER_SHARE, MODEL_SHARE
from service.diagnostics.measurement import measure_gradients
from service.monitoring.live import LiveGradients
from service.offline.model import OfflineModel

Pixels = NDArray[np.uint8]

UNFAMILIAR = 1.3
"""The example alert's threshold for `contraflow_layer_norm_distance` (deploy/prometheus/rules.yml)."""
SEED = 0

HEAD = """# Is a model still like itself? Watching live traffic

`python -m service --sample-gradients 0.01` measures the gradients of one in a hundred images that `/predict` has
answered. One image is under way at a time, on a run slot that is free while nothing waits, after everything that
somebody waits for; otherwise it is dropped and counted. A prediction can be held up by the rest of one run of one
image, never by more. At most one image of a request is taken; the class is the predicted one. The first sample of a
model loads its gradient graph. `/metrics` has, over the last 256 sampled images:

| metric | labels | what |
|---|---|---|
| `contraflow_sampled_gradients_total` | model, version, outcome | images drawn: measured, dropped (busy), failed |
| `contraflow_layer_norm_distance` | model, version | median `layer_norm_distance` / √layers; 1 is familiar |
| `contraflow_layer_gradient` | model, version, layer | median of scaled_gradient_norm / ‖dL/dlogits‖ |
| `contraflow_layer_gradient_to_baseline` | model, version, layer | that median over the one of the training images |
| `contraflow_layer_gradient_outside_share` | model, version, layer | share of images outside the training range |

There is one series per layer of a served model, and a model that is served no more takes its series with it. A bundle
without a record of its training images (an imported one) has `contraflow_layer_gradient` alone.
`deploy/prometheus/rules.yml` has example alerts, the dashboard *Contraflow* three panels.

## What it notices

"""


def kinds(photographs: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Images as they may come to reach a model, from harmless to foreign: uint8 [n, h, w, 3] each."""
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
    """The gauges' numbers once these images have been sampled, one by one as the service does."""
    live = LiveGradients(model.bundle, read_reference(model.stored.directory))
    for image in pixels:
        sample = np.ascontiguousarray(image[None])
        live.add(asyncio.run(measure_gradients(model.run, model.bundle, sample, np.full(1, -1, np.int64))))
    return live


def row(name: str, kind: str, live: LiveGradients) -> str:
    outside = [layer.baseline.outside_share for layer in live.layers() if layer.baseline is not None]
    layers = float(np.mean([share > LAYER_SHARE for share in outside]))
    distance = live.distance
    fired = [
        alert
        for alert, fires in (
            ("unfamiliar images", distance is not None and distance > UNFAMILIAR),
            ("unlike itself", layers > MODEL_SHARE),
        )
        if fires
    ]
    shown = "–" if distance is None else f"{distance:.2f}"
    return f"| {name} | {kind} | {shown} | {layers:.0%} | {', '.join(fired) or 'none'} |"


def photographs_in(folder: Path, height: int, width: int) -> Pixels:
    files = sorted(folder.glob("*.jpg"))
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((width, height))) for file in files])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.unlike", description=__doc__)
    parser.add_argument("--bundles", type=Path, default=Path("models/bundles"))
    parser.add_argument("--models", nargs="+", default=["resnet20", "plain20", "resnet56"])
    parser.add_argument("--images", type=Path, default=Path("service/static/samples"))
    parser.add_argument("--out", type=Path, default=Path("docs/monitoring.md"))
    options = parser.parse_args(arguments)
    command = " ".join(["python -m bench.unlike", *arguments])
    lines = [
        f"Made by `{command}`: a dozen images of each kind, none of them from the training. *Unfamiliar images* fires",
        f"above a distance of {UNFAMILIAR}, *unlike itself* when in over {MODEL_SHARE:.0%} of the layers over "
        f"{LAYER_SHARE:.0%} of the images",
        "are outside their range. The first threshold was set after looking at these rows, between the photographs and",
        "the rest; set it from your own traffic.",
        "",
        "| model | live images | distance | layers outside | alerts |",
        "|---|---|---|---|---|",
    ]
    runtime = Runtime("cpu")
    for name in options.models:
        model = OfflineModel(options.bundles / name, runtime)
        spec = model.bundle.input
        for kind, pixels in kinds(photographs_in(options.images, spec.height, spec.width)):
            lines.append(row(name, kind, watched(model, pixels)))
            print(lines[-1], flush=True)
    lines += [
        "",
        "Neither notices what the network itself does not mind: a mirrored photograph, other colours. The distance",
        "sees patterns over the layers that no single layer shows, as with noise; the shares say which layers moved.",
    ]
    options.out.write_text(HEAD + "\n".join(lines) + "\n")
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
