"""Everything that is found of two versions, put together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from service.diagnostics.schemas.gradients import ComparedModel
from service.diagnostics.schemas.versions import CalibrationFound
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.words import plural
from service.offline.against.gradients import BothGradients, gradients_of, sample_of
from service.offline.against.limits import Found, judged, limits_set
from service.offline.against.loss_by_layer import loss_by_layer
from service.offline.against.outcome import Against, CheckedVersion, ImagesCompared, Speed, status_of
from service.offline.against.speed import speed_of
from service.offline.against.tally import Tally, tally_of
from service.offline.against.versions import LocalVersion, Version
from service.offline.model import LabelledFile
from service.output.printable import printable

MOST_NAMED = 5
"""Labels that a sentence names one by one."""


def compared(
    old: Version,
    new: Version,
    options: argparse.Namespace,
    files: Sequence[LabelledFile],
    table: Path,
    thresholds: Thresholds,
) -> Against:
    """Read the table, measure gradients, speed and the change of the loss, and decide the limits."""
    tally = tally_of(table, old, new)
    if tally.images == tally.undecodable:
        raise ValueError(f"--data {options.data}: no image in it can be decoded")
    both = gradients_of(old, new, options.data, sample_of(files, options.images), thresholds)
    by_layer = loss_by_layer(old, new, options.data, files, options.layer_images)
    flips, calibration, speed = tally.flips.found(), _calibration(tally, old), _speed(old, new)
    unknown = _unknown(tally, old, both)
    sides = _checked(old, both.old), _checked(new, both.new)
    moved = both.in_both
    names = None if moved is None else [one.layer for one in moved if one.moved]
    found = Found(flips, tally.disagreements, calibration, speed, *sides, names, unknown)
    limits = judged(found, limits_set(options))
    return Against(
        exit_status=status_of(limits),
        old=sides[0],
        new=sides[1],
        limits=limits,
        images=_images(options.data, tally),
        label_kind=new.label_kind,
        flips=flips,
        by_label=tally.labels,
        loss=tally.loss,
        calibration=calibration,
        disagreements=tally.disagreements,
        changed=tally.changed,
        worst=tally.worst,
        speed=speed,
        moved=moved,
        gradients_on=both.images,
        loss_by_layer=None if isinstance(by_layer, str) else by_layer,
        notes=_notes(old, new, unknown, both, by_layer if isinstance(by_layer, str) else None),
    )


def _checked(version: Version, gradients: ComparedModel | str) -> CheckedVersion:
    return CheckedVersion(
        path=version.place,
        model=version.name,
        version=version.version,
        bundle=version.digest,
        labels=len(version.labels),
        parameters=version.parameters,
        bytes_on_disk=version.bytes_on_disk,
        verdict=None if isinstance(gradients, str) else gradients.verdict,
        no_verdict=gradients if isinstance(gradients, str) else None,
        notes=list(version.notes),
    )


def _images(folder: Path, tally: Tally) -> ImagesCompared:
    return ImagesCompared(
        folder=str(folder),
        images=tally.images,
        undecodable=tally.undecodable,
        unlabelled=tally.unlabelled,
        label_of_old_alone=tally.label_of_old_alone,
        label_of_new_alone=tally.label_of_new_alone,
        of_new_alone_right=tally.of_new_alone_right,
    )


def _calibration(tally: Tally, version: Version) -> CalibrationFound | None:
    return None if version.label_kind == "independent" else tally.calibration.found()


def _speed(old: Version, new: Version) -> Speed | None:
    if isinstance(old, LocalVersion) and isinstance(new, LocalVersion):
        return speed_of(old, new)
    return None


def _unknown(tally: Tally, old: Version, both: BothGradients) -> dict[str, str]:
    """Return why a limit's number is not known: flag → reason."""
    unknown = {}
    if not tally.flips.images:
        no_label = "no image has a label that both versions know"
        unknown = dict.fromkeys(("most-negative-flips", "most-accuracy-loss", "most-ece-increase"), no_label)
    elif old.label_kind == "independent":
        unknown["most-ece-increase"] = "the calibration error is of classes that exclude each other"
    if not isinstance(old, LocalVersion):
        unknown["most-slowdown"] = "the old version runs in a service, and not on this machine alone"
    lacking = [side for side in (both.new, both.old) if isinstance(side, str)]
    if lacking:
        unknown |= {"most-new-findings": lacking[0], "most-moved-layers": lacking[-1]}
    elif both.in_both is None:
        unknown["most-moved-layers"] = "the versions have no layer in common"
    return unknown


def _notes(
    old: Version, new: Version, unknown: dict[str, str], both: BothGradients, no_layers: str | None
) -> list[str]:
    """Return what does not apply or was not measured, each once."""
    notes = [
        f"Only the {which} version has {plural(len(names), 'label')}: {_listed(names)}."
        for which, names in (("old", _alone(old, new)), ("new", _alone(new, old)))
        if names
    ]
    if old.labels != new.labels:
        notes.append("The versions list their labels differently: labels were matched by name.")
    if (why := unknown.get("most-negative-flips")) is not None:
        notes.append(f"Flips, accuracy and calibration were not counted: {why}.")
    elif "most-ece-increase" in unknown:
        notes.append(f"Calibration was not measured: {unknown['most-ece-increase']}.")
    if "most-slowdown" in unknown:
        notes.append(f"Speed was not measured: {unknown['most-slowdown']}.")
    if (why := unknown.get("most-moved-layers")) is not None:
        notes.append(f"Layers that moved were not looked for: {why.rstrip('.')}.")
    if "most-new-findings" in unknown:
        notes.append(f"Which findings are new is not known: {unknown['most-new-findings'].rstrip('.')}.")
    if missing := both.in_old_alone:
        notes.append(f"{plural(len(missing), 'layer')} of the old version the new one lacks: {_listed(missing)}.")
    if no_layers is not None:
        notes.append(f"The change of the loss was not taken apart by layer: {no_layers.rstrip('.')}.")
    return [*notes, *old.notes, *new.notes]


def _alone(one: Version, other: Version) -> list[str]:
    return [label for label in one.labels if label not in other.known]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(repr(printable(name, 40)) for name in names[:MOST_NAMED]) + more
