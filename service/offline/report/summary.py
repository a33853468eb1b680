"""Says what a reader wants first: is it good, are its gradients healthy, and what was measured."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element

from service.contract.bundle_schema import Bundle
from service.diagnostics.versions.intervals import wilson
from service.diagnostics.words import plural, sentence
from service.offline.model import OfflineModel
from service.offline.report.judgement import Judgement
from service.offline.report.markup import Content, folded, in_percent, tag
from service.offline.report.tally import MOST_FOLDERS, Answers, Tally
from service.offline.table import has_served


def heading(bundle: Bundle, tally: Tally) -> str:
    """Return the title of the report."""
    return f"{bundle.name}, version {bundle.version}, on {plural(tally.images, 'image')}"


def summary(
    table: Path, folder: Path, model: OfflineModel, tally: Tally, judgement: Judgement, made: datetime
) -> list[Element]:
    """Return the three cards with the answers, and the list of what was measured."""
    return [
        tag(
            "div",
            accuracy_card(model.bundle, tally),
            verdict_card(judgement),
            images_card(tally),
            class_="cards",
        ),
        facts(table, folder, model, tally, made),
        *notes(model.bundle),
    ]


def accuracy_card(bundle: Bundle, tally: Tally) -> Element:
    """Return how many images with a label the model is right about, and what to compare that with."""
    answers, exclusive = tally.answers, bundle.label_kind == "exclusive"
    title = "Accuracy" if exclusive else "Labels found (recall)"
    if not answers.labelled:
        why = "no image has a label" if not tally.labelled else "no image with a label could be decoded"
        return card(title, "not known", sentence(why))
    said = "are classified as their folder says" if exclusive else "are given the label of their folder"
    lines = [f"95 % interval {_interval(answers)}: {answers.right:,} of {plural(answers.labelled, 'image')} {said}."]
    if exclusive:
        most = in_percent(max(answers.images.values()) / answers.labelled)
        lines.append(f"Always answering the most frequent label would give {most}.")
    else:
        lines.append("How often a label is given where it does not apply is not known: a folder names one label only.")
    if bundle.training is not None:
        recorded = in_percent(1 - bundle.training.final.test_error)
        lines.append(f"On the test images of its training the model had {recorded}.")
    if has_served(bundle):
        share = in_percent(tally.network.right / tally.network.labelled)
        lines.append(
            "These are the answers of the file's own int8 graph, as /predict gives them. The float network behind the "
            f"gradients has {share}."
        )
    return card(title, in_percent(answers.right / answers.labelled), *lines)


def _interval(answers: Answers) -> str:
    low, high = wilson(answers.right, answers.labelled)
    return f"{in_percent(low)} to {in_percent(high)}"


def verdict_card(judgement: Judgement) -> Element:
    """Return the state of the gradients, and what it means."""
    state = judgement.verdict.state
    kind = {"healthy": "fine", "undetermined": "unknown"}.get(state, "sick")
    link = tag("a", "What was seen, and what to try", href="#verdict")
    return card("Gradients", state, judgement.verdict.meaning, link, kind=kind)


def images_card(tally: Tally) -> Element:
    """Return how many images there are, how many have a label, and how many are broken."""
    without = tally.images - tally.labelled
    lines = [f"{tally.labelled:,} with a label of the model." if tally.labelled else "No label is compared."]
    if without and tally.labelled:
        names = [name or "(none)" for name in tally.folders_without_label]
        more = " and others" if len(names) == MOST_FOLDERS else ""
        lines.append(f"{without:,} without: the name of their folder is no label ({', '.join(names)}{more}).")
    lines.append(f"{tally.broken:,} could not be decoded." if tally.broken else "All could be decoded.")
    return card("Images", f"{tally.images:,}", *lines)


def card(title: str, answer: str, *lines: Content, kind: str = "") -> Element:
    """Return a card with one answer; `kind` is fine, sick or unknown."""
    paragraphs = (tag("p", line) for line in lines)
    return tag(
        "section", tag("h2", title), tag("p", answer, class_="answer"), *paragraphs, class_=f"card {kind}".strip()
    )


def facts(table: Path, folder: Path, model: OfflineModel, tally: Tally, made: datetime) -> Element:
    """Return what was measured: when, which bundle, where, and by which network."""
    bundle = model.bundle
    when = tag("time", made.isoformat(sep=" ", timespec="seconds"), datetime=made.isoformat(timespec="seconds"))
    listed: list[tuple[str, Content]] = [
        ("Made", when),
        ("Model", f"{bundle.name}, version {bundle.version}"),
        ("Bundle", f"{model.stored.digest} (sha256 of bundle.json, first 12 digits)"),
        ("Network", _network(bundle)),
        ("Written by", bundle.producer),
        ("Measured on", model.runtime.provider),
        ("Folder", str(folder.resolve())),
        ("Table", f"{table.name}, one row per image"),
    ]
    if bundle.quantized is not None:
        count = f". The two disagree on {plural(tally.differing, 'image')} of the table" if has_served(bundle) else ""
        listed.append(("8-bit integers", sentence(bundle.quantized.of_network + count)))
    if tally.saturated:
        judged = (
            f"Of {plural(tally.saturated, 'image')} the network is so certain that the gradient at the logits is 0 in "
            "single precision; these are judged by the runner-up label."
        )
        listed.append(("Certain images", judged))
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in listed]
    return tag("dl", *rows, class_="facts")


def notes(bundle: Bundle) -> list[Element]:
    """Return what the bundle says of itself, folded."""
    if not bundle.notes:
        return []
    listed = tag("ul", *(tag("li", sentence(note)) for note in bundle.notes))
    return [folded(f"Notes of the bundle ({len(bundle.notes)})", listed)]


def _network(bundle: Bundle) -> str:
    architecture = bundle.architecture
    kind = "imported" if architecture.family == "imported" else f"{architecture.family} network"
    size = f"{bundle.input.width} × {bundle.input.height} pixels"
    return f"{kind}, {plural(len(bundle.layers), 'layer')}, {plural(len(bundle.labels), 'label')}, {size}"
