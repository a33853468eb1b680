"""What was found of two versions, in sentences and in the rows of a table."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from service.diagnostics.compare import change_in_words, farthest
from service.diagnostics.schemas.versions import McNemar, Share
from service.diagnostics.words import plural, sentence
from service.offline.against.limits import in_percent
from service.offline.against.outcome import Against, CheckedVersion
from service.offline.report.markup import number

LIKELY_CHANCE: Final = 0.05
"""p-value from which a difference may well be chance."""


class Beside(NamedTuple):
    """One row of the table of both versions."""

    what: str
    before: str
    now: str
    change: str


def headline(found: Against) -> str:
    """Return in one sentence whether the new version keeps its limits."""
    broken = [limit.what for limit in found.limits if limit.state == "broken"]
    unknown = [limit.what for limit in found.limits if limit.state == "not measured"]
    who = f"{found.new.name} against {found.old.name}"
    if broken:
        return f"{who}: limits are broken: {', '.join(broken)}."
    if unknown:
        return f"{who}: not known: {', '.join(unknown)}."
    return f"{who}: all limits are kept."


def images_in_words(found: Against) -> str:
    """Return how many images were compared, and which of them counted for what."""
    images = found.images
    parts = [f"{plural(images.images, 'image')} of {images.folder}"]
    if images.unlabelled:
        parts.append(f"{images.unlabelled:,} without a label")
    if images.label_of_old_alone:
        parts.append(f"{images.label_of_old_alone:,} with a label of the old version alone")
    if images.label_of_new_alone:
        parts.append(
            f"{images.label_of_new_alone:,} with a label of the new version alone, which is right about "
            f"{images.of_new_alone_right:,} of them"
        )
    if images.undecodable:
        parts.append(f"{images.undecodable:,} could not be decoded")
    return sentence("; ".join(parts))


def share_in_words(share: Share) -> str:
    return (
        f"{share.count:,} of {share.of:,}, {in_percent(share.share)} (95 % interval {in_percent(share.low)} to "
        f"{in_percent(share.high)})"
    )


def mcnemar_in_words(test: McNemar) -> str:
    """Return the result of McNemar's test and which form of it was taken."""
    form = "exact binomial form" if test.method == "exact" else "χ² form with continuity correction"
    value = f"p = {test.p_value:.2g}" if test.p_value >= 1e-6 else "p < 0.000001"
    meaning = "may well be chance" if test.p_value >= LIKELY_CHANCE else "is more than chance"
    return f"The difference {meaning} (McNemar's test, {form}: {value})."


def beside(found: Against) -> list[Beside]:
    """Return the rows of the table of both versions."""
    old, new, rows = found.old, found.new, list[Beside]()
    if (flips := found.flips) is not None:
        before, now, change = flips.accuracy_before, flips.accuracy_now, flips.accuracy_change
        named = "accuracy" if found.label_kind == "exclusive" else "labels found (recall)"
        rows.append(Beside(named, _with_interval(before), _with_interval(now), _points(change.value)))
    if (loss := found.loss) is not None:
        rows.append(Beside("mean loss, nats", number(loss.before), number(loss.now), signed(loss.now - loss.before)))
    if (calibration := found.calibration) is not None:
        before_, now_ = in_percent(calibration.before), in_percent(calibration.now)
        rows.append(Beside("calibration error (ECE, 15 bins)", before_, now_, _points(calibration.change.value)))
    if (speed := found.speed) is not None:
        ratio = speed.ratio
        change_ = f"{ratio.value:.3g} times ({ratio.low:.3g} to {ratio.high:.3g})"
        rows.append(Beside("one image, ms", f"{speed.before:.3g}", f"{speed.now:.3g}", change_))
    rows.append(Beside("bytes of the bundle", _count(old.bytes_on_disk), _count(new.bytes_on_disk), _times(old, new)))
    rows.append(Beside("parameters", _count(old.parameters), _count(new.parameters), ""))
    rows.append(Beside("gradients", state(old), state(new), ""))
    return rows


def state(version: CheckedVersion) -> str:
    """Return the state of a version's gradients."""
    return "no verdict" if version.verdict is None else version.verdict.state


def findings(found: Against) -> list[str]:
    """Return what was found beside the table, in sentences."""
    said = []
    if (flips := found.flips) is not None:
        said += [
            f"Negative flips (right before, wrong now): {share_in_words(flips.negative)}.",
            f"Positive flips (wrong before, right now): {share_in_words(flips.positive)}.",
            mcnemar_in_words(flips.mcnemar),
        ]
    if found.disagreements is not None:
        said.append(f"Different answers, whatever is right: {share_in_words(found.disagreements)}.")
    if found.moved is not None:
        said.append(moved_in_words(found))
    if found.loss_by_layer is not None:
        said.append(layers_in_words(found))
    return said


def moved_in_words(found: Against) -> str:
    """Return which layers' gradients moved."""
    moved, every = found.moved_layers, len(found.moved or ())
    if not moved:
        return f"No layer moved: none of {every} gradients differs by a factor of two or more."
    most = farthest(moved)
    by = change_in_words(most.decades) + (" now" if math.isfinite(most.decades) else "")
    return f"{len(moved)} of {plural(every, 'layer')} moved, the farthest {most.layer}, whose gradient is {by}."


def layers_in_words(found: Against) -> str:
    """Return which layers changed the loss most."""
    by_layer = found.loss_by_layer
    if by_layer is None:
        return "The change of the loss was not taken apart by layer."
    if not by_layer.layers:
        return by_layer.because
    named = ", ".join(f"{one.layer} {signed(one.change)}" for one in by_layer.layers[:3])
    return (
        f"The mean loss changed by {signed(by_layer.measured)} nats on {plural(by_layer.images, 'image')}; by layer, "
        f"the most: {named}. {by_layer.because}"
    )


def signed(value: float) -> str:
    """Return a number with its sign."""
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{number(abs(value))}"


def _points(value: float) -> str:
    if not math.isfinite(value):
        return "not a number"
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{100 * abs(value):.2f} points"


def _with_interval(share: Share) -> str:
    return f"{in_percent(share.share)} ({in_percent(share.low)} to {in_percent(share.high)})"


def _count(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _times(old: CheckedVersion, new: CheckedVersion) -> str:
    if not old.bytes_on_disk or new.bytes_on_disk is None:
        return ""
    return f"{new.bytes_on_disk / old.bytes_on_disk:.3g} times"
