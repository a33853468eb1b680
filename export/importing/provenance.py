"""The values that an import settled, in words, and where each came from: for the command line and for `bundle.json`."""

from __future__ import annotations

from collections.abc import Mapping

from export.importing.flags.pixels import written
from export.importing.resolving import DEFAULT
from service.contract.bundle_schema import InputSpec

FILE = "the file itself"
SHOWN_LABEL = 40


def settled_values(spec: InputSpec, labels: tuple[str, ...], sources: Mapping[str, str]) -> dict[str, str]:
    """Return "value, from source" by the name of the value."""
    resize_source = sources.get("resize_side") or sources.get("resize") or DEFAULT
    found = {
        "labels": (_labels(labels), sources.get("labels") or _own_labels(labels)),
        "size": (f"{spec.height} x {spec.width}", sources.get("size") or sources.get("crop") or FILE),
        "layout": (spec.layout, sources.get("layout") or FILE),
        "channels": (_channels(spec), sources.get("channels") or (DEFAULT if spec.channels > 1 else FILE)),
        "resize": (_resize(spec), sources.get("crop_fraction") or resize_source),
        "interpolation": (_interpolation(spec), sources.get("interpolation") or DEFAULT),
        "mean": (written(spec.mean), sources.get("mean", DEFAULT)),
        "std": (written(spec.std), sources.get("std", DEFAULT)),
        "scale": (f"{spec.scale:g}", sources.get("scale") or DEFAULT),
    }
    return {name: f"{value} ({source})" for name, (value, source) in found.items()} | {
        name: sources[name] for name in ("output", "labels_are") if name in sources
    }


def _labels(labels: tuple[str, ...]) -> str:
    return f"{len(labels)}: {labels[0][:SHOWN_LABEL]}, … {labels[-1][:SHOWN_LABEL]}"


def _own_labels(labels: tuple[str, ...]) -> str:
    is_numbered = labels == tuple(map(str, range(len(labels))))
    return "nobody states them, so classes are called by number" if is_numbered else FILE


def _channels(spec: InputSpec) -> str:
    return spec.channel_order if spec.channels == 3 else "grey"


def _resize(spec: InputSpec) -> str:
    sides = spec.resize if isinstance(spec.resize, tuple) else (spec.resize or 0,) * 2
    if spec.resize is None:
        return f"stretched to {spec.height} x {spec.width}"
    said = f"{spec.resize}" if isinstance(spec.resize, int) else f"{sides[0]} x {sides[1]}"
    if spec.resize_side == "longer":
        cut = "the middle, " if sides[0] > spec.height or sides[1] > spec.width else ""
        return f"the longer side to {said}, then {cut}padded with {','.join(map(str, spec.fill))}"
    if spec.resize_side is None and isinstance(spec.resize, tuple):
        return f"stretched to {said}, then the middle"
    return f"the shorter side to {said}, then the middle"


def _interpolation(spec: InputSpec) -> str:
    return spec.interpolation if spec.antialias else f"{spec.interpolation} between points, without antialias"
