"""`POST /diagnostics/…`: gradients, comparison, shattering, scores, features, as JSON or as a plot."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from service.bundles.reference import read_reference
from service.bundles.registry import ServedModel
from service.contract.bundle_schema import GraphName
from service.contract.loss import probabilities
from service.diagnostics import compare, features, pictures, scores, shattering
from service.diagnostics.drawing.plots import plot
from service.diagnostics.gradients import Diagnosis, Measured, diagnose
from service.diagnostics.measurement import RunGraph, measure_gradients
from service.diagnostics.schemas.base import DiagnosticSchema
from service.diagnostics.schemas.features import Features, SampleFeatures
from service.diagnostics.schemas.gradients import ComparedModel, Comparison, Gradients, InputGradient
from service.diagnostics.schemas.scores import Scores
from service.diagnostics.schemas.shattering import Shattering
from service.diagnostics.verdicts.verdict import Thresholds
from service.engine.engine import Engine
from service.errors import InvalidParameter
from service.http.answers.negotiation import prefers
from service.http.answers.openapi import ERRORS, PICTURE, SEVERAL_MODELS, TWO_MODELS, Responses, image_request, number
from service.http.answers.responses import identity
from service.http.requests.submission import Submission
from service.http.routes.dependencies import EngineDependency, SubmissionDependency
from service.images.preprocess import normalise

Array = NDArray[Any]

JSON: Final = "application/json"
SVG: Final = "image/svg+xml"
BY_ACCEPT: Final = {"vary": "accept"}
MOST_FEATURE_IMAGES: Final = 4
"""Pictures of every layer are large; more images take more requests."""
PLOT: Final = {SVG: {"schema": {"type": "string"}}}
LABELLED: Final = {"images": [{"data": PICTURE, "label": 0}]}
"""A JSON body for documentation's sake; every model has a class 0."""

THRESHOLDS: Final = {
    one.name: number(
        f"a threshold of the verdict: {one.metadata['meaning']}; source: {one.metadata['source']}",
        default=one.default,
        exclusiveMinimum=0,
    )
    for one in fields(Thresholds)
}
POINTS: Final = number(
    "points on the path",
    type="integer",
    default=shattering.POINTS,
    minimum=shattering.LEAST_POINTS,
    maximum=shattering.MOST_POINTS,
)
SHATTERED: Final = number(
    f"spectral exponent below which the gradient is shattered; source: {shattering.SOURCE}",
    default=shattering.SHATTERED,
)
CHANNELS: Final = number(
    "pictures per layer",
    type="integer",
    default=features.CHANNELS,
    minimum=1,
    maximum=features.MOST_CHANNELS,
)

router = APIRouter(prefix="/diagnostics", tags=["diagnostics"])


def answers(schema: type[DiagnosticSchema]) -> Responses:
    """The documentation of an endpoint that answers `schema`, or a plot of it."""
    return {200: {"model": schema, "content": PLOT, "description": "the diagnosis, or a plot of it"}} | ERRORS


@router.post(
    "/gradients",
    responses=answers(Gradients),
    openapi_extra=image_request("label", "include", "format", thresholds=True, example=LABELLED, **THRESHOLDS),
)
async def gradients(request: Request, submission: SubmissionDependency, engine: EngineDependency) -> Response:
    """Gradient norms per layer and sample, and a verdict for every layer and the model.

    Its thresholds may also stand together in the object `thresholds` of a JSON body.
    """
    model, thresholds = submission.model, read_thresholds(submission)
    pixels = await submission.pixels(model)
    labels = submission.class_indices(model)
    run = runner(engine, model, submission)
    measured = await measure_gradients(run, model.bundle, pixels, labels, submission.include)
    saliencies = None
    if "input_gradient" in submission.include:
        saliencies = await _input_gradients(run, model, pixels, labels)
    diagnosis = diagnose(model.bundle, measured, thresholds)
    answer = _gradients_answer(model, submission, diagnosis, measured, saliencies)
    return respond(request, submission, answer)


@router.post(
    "/compare",
    name="compare",
    responses=answers(Comparison),
    openapi_extra=image_request(
        *("label", "include", "format"),
        thresholds=True,
        example={**LABELLED, "model": TWO_MODELS},
        model=SEVERAL_MODELS,
        **THRESHOLDS,
    ),
)
async def compare_models(request: Request, submission: SubmissionDependency, engine: EngineDependency) -> Response:
    """The same images through several models (`model` repeated, `name@version` for one version)."""
    if len(submission.models) < 2:
        raise InvalidParameter("Name two models or more: repeat `model`, as name or name@version.")
    thresholds = read_thresholds(submission)
    compared = await asyncio.gather(
        *[_compared_model(engine, model, submission, thresholds) for model in submission.models]
    )
    found = compare.differences(compared)
    answer = Comparison(
        request_id=submission.request.id,
        models=compared,
        differences=found,
        predictions_differ=compare.predictions_differ(compared),
        because=compare.because(compared, found),
    )
    return respond(request, submission, answer)


@router.post(
    "/shattering",
    name="shattering",
    responses=answers(Shattering),
    openapi_extra=image_request("label", "format", example=LABELLED, points=POINTS, shattered=SHATTERED),
)
async def shattered_gradients(request: Request, submission: SubmissionDependency, engine: EngineDependency) -> Response:
    """Input gradients along the straight path between two images (or one and noise)."""
    model = submission.model
    if len(submission.images) > 2:
        raise InvalidParameter(f"Send one or two images, not {len(submission.images)}.")
    points = read_integer(submission, "points", shattering.POINTS, shattering.LEAST_POINTS, shattering.MOST_POINTS)
    threshold = read_number(submission, "shattered", shattering.SHATTERED)
    pixels = await submission.pixels(model)
    if len(pixels) == 1:
        pixels = np.concatenate([pixels, shattering.noise_image(pixels.shape[1:])[None]])
    ends = normalise(pixels, model.bundle.input)
    run = runner(engine, model, submission)
    label = int(submission.class_indices(model)[0])
    if label < 0:
        label = int(np.argmax((await run("forward", ends[:1]))["logits"][0]))
    path = shattering.straight_path(ends[0], ends[1], points)
    outputs = await run("input_gradient", path, np.full(points, label))
    found = shattering.analyse(outputs["input_gradient"])
    answer = Shattering(
        **identity(model, submission.request),
        label=model.bundle.labels[label],
        index=label,
        points=points,
        correlation=found.correlation.tolist(),
        autocorrelation=found.autocorrelation,
        spectral_exponent=found.spectral_exponent,
        gradient_norm=found.gradient_norm.tolist(),
        probability=probabilities(outputs["logits"])[:, label].tolist(),
        verdict=shattering.judge_path(found, threshold),
    )
    return respond(request, submission, answer)


@router.post(
    "/scores",
    name="scores",
    responses=answers(Scores),
    openapi_extra=image_request("label", "format", example=LABELLED),
)
async def image_scores(request: Request, submission: SubmissionDependency, engine: EngineDependency) -> Response:
    """How foreign each image is to the model, and, with labels, how hard or wrongly labelled."""
    model = submission.model
    labels = submission.class_indices(model)
    pixels = await submission.pixels(model)
    run = runner(engine, model, submission)
    reference = read_reference(model.stored)
    norms = await run("weight_norms", pixels, labels)
    predicted_norms: dict[str, Array] | None = norms
    if reference is not None and submission.given_labels:
        predicted_norms = await run("weight_norms", pixels)
    answer = Scores(
        **identity(model, submission.request),
        samples=scores.score(model.bundle, norms, labels, predicted_norms, reference),
        notes=[] if reference else ["layer_norm_distance is null: the bundle has no reference statistics."],
    )
    return respond(request, submission, answer)


@router.post(
    "/features",
    name="features",
    responses=answers(Features),
    openapi_extra=image_request("label", "format", example=LABELLED, channels=CHANNELS),
)
async def layer_features(request: Request, submission: SubmissionDependency, engine: EngineDependency) -> Response:
    """What each layer makes of an image: statistics, its strongest channels, and the input gradient."""
    model = submission.model
    if len(submission.images) > MOST_FEATURE_IMAGES:
        raise InvalidParameter(f"Send at most {MOST_FEATURE_IMAGES} images, not {len(submission.images)}.")
    channels = read_integer(submission, "channels", features.CHANNELS, 1, features.MOST_CHANNELS)
    pixels = await submission.pixels(model)
    labels = submission.class_indices(model)
    run = runner(engine, model, submission)
    maps, activations = await asyncio.gather(run("feature_maps", pixels), run("activations", pixels))
    saliencies = await _input_gradients(run, model, pixels, labels)
    predicted = np.argmax(maps["logits"], axis=1)
    answer = Features(
        **identity(model, submission.request),
        samples=[
            SampleFeatures(
                predicted_label=model.bundle.labels[predicted[row]],
                predicted_index=int(predicted[row]),
                layers=features.layer_features(model.bundle, maps, activations, row, channels),
                saliency=saliencies[row],
            )
            for row in range(len(pixels))
        ],
        separability=features.separability_by_depth(model.bundle),
    )
    return respond(request, submission, answer)


# ---------------------------------------------------------------- what they share


def runner(engine: Engine, model: ServedModel, submission: Submission) -> RunGraph:
    """`RunGraph` of `model` for this request."""

    async def run(graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None) -> dict[str, Array]:
        return await engine.run(model, graph, images, labels, request=submission.request)

    return run


def respond(request: Request, submission: Submission, answer: DiagnosticSchema) -> Response:
    """`answer` as JSON, or as a plot where `format` says so or else `Accept` prefers SVG to JSON.

    A caller who accepts neither gets JSON: the answer is paid for, and can be read.

    Raises:
        InvalidParameter: another format.
    """
    accept = ", ".join(request.headers.getlist("accept"))
    form = submission.option("format", "svg" if prefers(accept, SVG, JSON) else "json")
    if form == "svg":
        families = {model.name: model.bundle.architecture.family for model in submission.models}
        return Response(plot(answer, families), media_type=SVG, headers=BY_ACCEPT)
    if form != "json":
        raise InvalidParameter(f"`format` is json or svg, not {str(form)[:40]!r}.")
    return Response(answer.model_dump_json(), media_type=JSON, headers=BY_ACCEPT)


def read_thresholds(submission: Submission) -> Thresholds:
    """The verdict's thresholds: `thresholds` in a JSON body, or each by its name in body or query.

    Raises:
        InvalidParameter: not known, or not a positive number.
    """
    given = submission.option("thresholds", {})
    if not isinstance(given, dict):
        raise InvalidParameter("`thresholds` must be an object of numbers.")
    named = {field.name: submission.option(field.name) for field in fields(Thresholds)}
    merged = {**given, **{name: value for name, value in named.items() if value is not None}}
    try:
        return Thresholds().overridden({str(name): _as_number(value) for name, value in merged.items()})
    except (TypeError, ValueError) as error:
        raise InvalidParameter(str(error)[:200]) from None


def read_integer(submission: Submission, name: str, default: int, least: int, most: int) -> int:
    """An option that is a whole number from `least` to `most`; InvalidParameter otherwise."""
    value = read_number(submission, name, default)
    if value != int(value) or not least <= value <= most:
        raise InvalidParameter(f"`{name}` must be a whole number from {least} to {most}.")
    return int(value)


def read_number(submission: Submission, name: str, default: float) -> float:
    """An option that is a finite number; InvalidParameter otherwise."""
    given = submission.option(name, default)
    try:
        value = _as_number(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise InvalidParameter(f"`{name}` must be a number, not {str(given)[:40]!r}.")
    return value


def _as_number(value: Any) -> float:
    """A JSON number, or its digits in a query or form; TypeError or ValueError otherwise."""
    if isinstance(value, bool):
        raise TypeError("true and false are no numbers")
    return float(value)


def _gradients_answer(
    model: ServedModel,
    submission: Submission,
    diagnosis: Diagnosis,
    measured: Measured,
    saliencies: list[InputGradient] | None,
) -> Gradients:
    return Gradients(
        **identity(model, submission.request),
        samples=diagnosis.samples,
        layers=diagnosis.layers,
        other_parameters=diagnosis.other_parameters,
        noise_scale=measured.total_noise,
        input_gradients=saliencies,
        unlike_itself=diagnosis.unlike_itself,
        verdict=diagnosis.verdict,
        notes=list(model.bundle.notes),
    )


async def _compared_model(
    engine: Engine, model: ServedModel, submission: Submission, thresholds: Thresholds
) -> ComparedModel:
    pixels = await submission.pixels(model)
    run = runner(engine, model, submission)
    measured = await measure_gradients(run, model.bundle, pixels, submission.class_indices(model), submission.include)
    diagnosis = diagnose(model.bundle, measured, thresholds)
    return ComparedModel(
        **identity(model, submission.request),
        samples=diagnosis.samples,
        layers=diagnosis.layers,
        verdict=diagnosis.verdict,
    )


async def _input_gradients(
    run: RunGraph, model: ServedModel, pixels: Array, labels: NDArray[np.int64]
) -> list[InputGradient]:
    gradient = (await run("input_gradient", pixels, labels))["input_gradient"]
    return [pictures.saliency(one, model.bundle.input.layout) for one in gradient]
