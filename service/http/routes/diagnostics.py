"""`/diagnostics/…`: gradients, comparison, shattering, scores, features, as JSON or as a plot; the shadow, as JSON."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray

from service.bundles.reference import read_reference
from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.label_kinds import kind_called
from service.diagnostics import compare, features, scores
from service.diagnostics.answer import answer_gradients, input_gradients
from service.diagnostics.drawing.plots import plot
from service.diagnostics.gradients import diagnose
from service.diagnostics.losses import label_sets
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.schemas.base import DiagnosticSchema
from service.diagnostics.schemas.features import Features
from service.diagnostics.schemas.gradients import ComparedModel, Comparison, Gradients
from service.diagnostics.schemas.scores import Scores
from service.diagnostics.schemas.shadow import Shadow
from service.diagnostics.schemas.shattering import Shattering
from service.diagnostics.shattering import measures, verdict
from service.diagnostics.shattering.path import noise_image
from service.diagnostics.verdicts.thresholds import Thresholds
from service.errors import InvalidParameter, NoShadow
from service.http.answers.negotiation import prefers
from service.http.answers.openapi import Responses, names_of
from service.http.answers.responses import JSON, Answer, identity
from service.http.calls.call import Call
from service.http.requests.submission import Submission
from service.http.routes import diagnosis_options as options
from service.http.routes.runs import identity_of_network, runner, walk
from service.http.routes.submissions import read_submission
from service.images.preprocess import normalise
from service.monitoring.shadow.telling import told
from service.settings.reading import names_of_setting

SVG: Final = "image/svg+xml"
BY_ACCEPT: Final = (b"vary", b"accept")
MOST_FEATURE_IMAGES: Final = 4
"""Images that one request may have: pictures of every layer are large."""
KINDS: Final = {"exclusive": "classes that exclude each other", "independent": "independent labels"}
PLOT: Final = {SVG: {"schema": {"type": "string"}}}

router = APIRouter(prefix="/diagnostics", tags=["diagnostics"])
of_shadow = APIRouter(prefix="/diagnostics", tags=["diagnostics"])
"""The part that says something only where a shadow is set."""


def answers(schema: type[DiagnosticSchema]) -> Responses:
    """Return the documentation of an endpoint that answers `schema`, or a plot of it."""
    return {200: {"model": schema, "content": PLOT, "description": "the diagnosis, or a plot of it"}}


@router.post(
    "/gradients",
    response_model=None,
    responses=answers(Gradients),
    openapi_extra=options.GRADIENTS,
)
async def gradients(call: Call) -> Answer:
    """Gradient norms per layer and sample, and a verdict for every layer and the model.

    Thresholds may also be members of the object `thresholds` in a JSON body.
    """
    submission = await read_submission(call, names_of(options.GRADIENTS))
    model, thresholds = submission.model, options.read_thresholds(submission)
    pixels = await submission.pixels(model)
    labels, answered_by = submission.labels_for(model), identity(model, submission.request)
    run = runner(call, model)
    answer = await answer_gradients(run, model.bundle, answered_by, pixels, labels, submission.include, thresholds)
    return respond(call, submission, answer)


@router.post(
    "/compare",
    name="compare",
    response_model=None,
    responses=answers(Comparison),
    openapi_extra=options.COMPARISON,
)
async def compare_models(call: Call) -> Answer:
    """The same images through several models (`model` repeated, `name@version` for one version)."""
    submission = await read_submission(call, names_of(options.COMPARISON))
    if len(submission.models) < 2:
        raise InvalidParameter("Name two models or more: repeat `model`, as name or name@version.")
    if len({model.bundle.label_kind for model in submission.models}) > 1:
        kinds = ", ".join(f"{model.name} has {KINDS[model.bundle.label_kind]}" for model in submission.models)
        raise InvalidParameter(f"{kinds}: their losses differ, so their gradients cannot be compared.")
    thresholds = options.read_thresholds(submission)
    compared = await asyncio.gather(
        *[_compared_model(call, model, submission, thresholds) for model in submission.models]
    )
    found = compare.differences(compared)
    answer = Comparison(
        request_id=submission.request.id,
        models=compared,
        differences=found,
        predictions_differ=compare.predictions_differ(compared),
        flips=compare.flips(compared, _have_labels(submission)),
        because=compare.because(compared, found),
    )
    return respond(call, submission, answer)


@of_shadow.get("/shadow", name="shadow", response_model=Shadow)
async def shadow(call: Call) -> Answer:
    """What a second version answers on a share of the live images, beside the one that answers (setting `shadow`)."""
    shadowing = call.service.shadowing
    if shadowing is None:
        raise NoShadow(f"Start the service with a second version: {names_of_setting('shadow')} NAME@VERSION.")
    return Answer(200, [JSON], told(shadowing).model_dump_json().encode())


@router.post(
    "/shattering",
    name="shattering",
    response_model=None,
    responses=answers(Shattering),
    openapi_extra=options.SHATTERING,
)
async def shattered_gradients(call: Call) -> Answer:
    """Input gradients along the straight path between two images (or one and noise).

    Without `points`, a path has 64, or as many as there is time for before the deadline.
    """
    submission = await read_submission(call, names_of(options.SHATTERING))
    model = submission.model
    if len(submission.images) > 2:
        raise InvalidParameter(f"Send one or two images, not {len(submission.images)}.")
    named = options.read_points(submission)
    threshold = options.read_number(submission, "shattered", verdict.SHATTERED)
    pixels = await submission.pixels(model)
    if len(pixels) == 1:
        pixels = np.concatenate([pixels, noise_image(pixels.shape[1:])[None]])
    ends = normalise(pixels, model.bundle.input)
    run = runner(call, model)
    kind = kind_called(model.bundle.label_kind)
    # The loss is the same along the whole path: what is not given is as the network sees the first image.
    label = submission.labels_for(model)[:1]
    if (label < 0).any():
        label = kind.settled((await run("forward", ends[:1]))["logits"], label)
    path = await walk(call, model, ends, label, named)
    found = measures.analyse(path.outputs["input_gradient"])
    answer = Shattering(
        **identity(model, submission.request, float_network=True),
        **_labels_of(model, label),
        points=len(path.labels),
        points_note=path.note,
        correlation=found.correlation.tolist(),
        autocorrelation=found.autocorrelation,
        spectral_exponent=found.spectral_exponent,
        gradient_norm=found.gradient_norm.tolist(),
        probability=kind.likelihoods(path.outputs["logits"], path.labels).tolist(),
        verdict=verdict.judge_path(found, threshold),
    )
    return respond(call, submission, answer)


@router.post(
    "/scores",
    name="scores",
    response_model=None,
    responses=answers(Scores),
    openapi_extra=options.SCORES,
)
async def image_scores(call: Call) -> Answer:
    """Scores of each image: how foreign it is to the model, and, with labels, how hard or how likely mislabelled."""
    submission = await read_submission(call, names_of(options.SCORES))
    model = submission.model
    labels = submission.labels_for(model)
    pixels = await submission.pixels(model)
    run = runner(call, model)
    reference = read_reference(model.stored)
    norms = await run("weight_norms", pixels, labels)
    predicted_norms: dict[str, Array] | None = norms
    if reference is not None and submission.given_labels:
        predicted_norms = await run("weight_norms", pixels)
    samples = scores.score(model.bundle, norms, labels, predicted_norms, reference)
    answer = Scores(
        **await identity_of_network(call, model, pixels, samples),
        samples=samples,
        notes=_notes_on_scores(model, has_reference=reference is not None),
    )
    return respond(call, submission, answer)


@router.post(
    "/features",
    name="features",
    response_model=None,
    responses=answers(Features),
    openapi_extra=options.FEATURES,
)
async def layer_features(call: Call) -> Answer:
    """Output of each layer for an image: statistics and strongest channels; also the input gradient."""
    submission = await read_submission(call, names_of(options.FEATURES))
    model = submission.model
    if len(submission.images) > MOST_FEATURE_IMAGES:
        raise InvalidParameter(f"Send at most {MOST_FEATURE_IMAGES} images, not {len(submission.images)}.")
    channels = options.read_integer(submission, "channels", features.CHANNELS, 1, features.MOST_CHANNELS)
    pixels = await submission.pixels(model)
    labels = submission.labels_for(model)
    run = runner(call, model)
    maps, activations = await asyncio.gather(run("feature_maps", pixels), run("activations", pixels))
    saliencies = await input_gradients(run, model.bundle, pixels, labels)
    layers = [features.layer_features(model.bundle, maps, activations, row, channels) for row in range(len(pixels))]
    samples = features.sample_features(model.bundle, maps["logits"], layers, saliencies)
    answer = Features(
        **await identity_of_network(call, model, pixels, samples),
        samples=samples,
        separability=features.separability_by_depth(model.bundle),
    )
    return respond(call, submission, answer)


# ---------------------------------------------------------------- what they share


def _labels_of(model: ServedModel, label: NDArray[np.int64]) -> dict[str, Any]:
    """Return the fields that name the labels of one loss, int64 [1] or [1, K]."""
    if model.bundle.label_kind == "exclusive":
        return {"label": model.bundle.labels[label[0]], "index": int(label[0])}
    names, indices = label_sets(model.bundle, label)[0]
    return {"label": None, "index": None, "labels": names, "indices": indices}


def _have_labels(submission: Submission) -> list[bool]:
    """Return which images have a label of every model."""
    given = [
        kind_called(model.bundle.label_kind).are_given(submission.labels_for(model)) for model in submission.models
    ]
    every: list[bool] = np.all(given, axis=0).tolist()
    return every


def _notes_on_scores(model: ServedModel, *, has_reference: bool) -> list[str]:
    notes = [] if has_reference else ["layer_norm_distance is null: the bundle has no reference statistics."]
    if model.bundle.label_kind == "independent":
        notes.append("margin and gradnorm are left out: they compare classes that exclude each other.")
    return notes


def respond(call: Call, submission: Submission, found: DiagnosticSchema) -> Answer:
    """Return `found` as JSON, or as a plot if `format` says so, or else if `Accept` prefers SVG to JSON.

    A caller who accepts neither gets JSON: the work is done by then.

    Raises:
        InvalidParameter: another format.
    """
    accept = ", ".join(call.headers.getlist("accept"))
    form = submission.option("format", "svg" if prefers(accept, SVG, "application/json") else "json")
    if form == "svg":
        families = {model.name: model.bundle.architecture.family for model in submission.models}
        return Answer(200, [(b"content-type", SVG.encode()), BY_ACCEPT], plot(found, families).encode())
    if form != "json":
        raise InvalidParameter(f"`format` is json or svg, not {str(form)[:40]!r}.")
    return Answer(200, [JSON, BY_ACCEPT], found.model_dump_json().encode())


async def _compared_model(
    call: Call, model: ServedModel, submission: Submission, thresholds: Thresholds
) -> ComparedModel:
    pixels = await submission.pixels(model)
    run = runner(call, model)
    measured = await measure_gradients(run, model.bundle, pixels, submission.labels_for(model), submission.include)
    diagnosis = diagnose(model.bundle, measured, thresholds)
    return ComparedModel(
        **await identity_of_network(call, model, pixels, diagnosis.samples),
        samples=diagnosis.samples,
        layers=diagnosis.layers,
        verdict=diagnosis.verdict,
    )
