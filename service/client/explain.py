"""Where in a photograph does the evidence for a label lie? Say it in words, or write a picture of it.

PATH is a bundle, an .onnx file or the folder of a model; what is no bundle is imported.
docs/guide/explain-an-answer.md says what each method shows, and what it does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from service.bundles.disk import BundleRefused
from service.contract.errors import ReportedError
from service.contract.runtime.opening import Runtime
from service.contract.runtime.provider import ProviderUnavailable
from service.diagnostics.explanation.answer import answer_explanations
from service.diagnostics.explanation.asked import Asked, asked
from service.diagnostics.explanation.overlay import as_png, as_svg, whole_picture
from service.diagnostics.schemas.explanation import METHODS, Explanations
from service.http.requests.labels import as_label, label_array
from service.images.preprocess import decode
from service.offline.flags import add_execution_provider
from service.offline.model import PATH_HELP, OfflineModel, finished, model_at
from service.output.console import complain
from service.output.system_errors import error_in_words
from service.output.whole_files import replaced_file
from service.sources.flags import IncompleteFlag, split_flags
from service.sources.kinds import SourceError

FORMS: Final = (".png", ".svg", ".json")


def main(arguments: Sequence[str], program: str = "python -m service explain") -> int:
    """Explain one label of one photograph; return the exit status."""
    try:
        words, import_flags = split_flags(arguments)
        options = parser(program).parse_args(words)
        wanted = asked(options.method, options.layer, options.steps)
        photograph = options.photograph.read_bytes()
        directory = model_at(options.path, import_flags)
        model = OfflineModel(directory, Runtime(options.execution_provider), needed="forward")
        found = explained(model, photograph, options.label, wanted)
        if options.out is not None:
            content = _drawn(found, photograph, model, options.out.suffix.lower())
            with replaced_file(options.out) as stream:
                stream.write(content)
    except ReportedError as error:
        complain(error.detail)
        return 2
    except (BundleRefused, IncompleteFlag, ProviderUnavailable, SourceError, OSError) as error:
        complain(error_in_words(error))
        return 2
    print(in_words(found))
    return 0


def explained(model: OfflineModel, photograph: bytes, label: str | None, wanted: Asked) -> Explanations:
    """Return the answer that the service would give for one image.

    Raises:
        ReportedError: the picture cannot be decoded, or the model has no such label or explanation.
    """
    pixels = decode(photograph, model.bundle.input)[None]
    classes = label_array([as_label(label)], model.bundle)
    return finished(answer_explanations(model.run, model.bundle, model.answered_by, pixels, classes, wanted))


def in_words(found: Explanations) -> str:
    """Return what was seen in the one image of an answer, a line for each thing."""
    sample = found.samples[0]
    lines = [
        f"{sample.label}: logit {float(sample.logit):.3g}, probability {float(sample.probability):.3g}",
        sample.because,
        *([sample.completeness.because] if sample.completeness else []),
        *([found.steps_note] if found.steps_note else []),
        *found.notes,
        *([found.quantized] if found.quantized else []),
    ]
    return "\n".join(lines)


def _drawn(found: Explanations, photograph: bytes, model: OfflineModel, suffix: str) -> bytes:
    if suffix == ".json":
        return found.model_dump_json(indent=1).encode()
    spec = model.bundle.input
    whole = whole_picture(photograph, spec)
    return as_png(found, 0, whole, spec) if suffix == ".png" else as_svg(found, [whole], spec).encode()


def parser(program: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    top.add_argument("path", type=Path, metavar="PATH", help=PATH_HELP)
    top.add_argument("photograph", type=Path, metavar="PHOTOGRAPH", help="an image file")
    top.add_argument(
        "-o",
        "--out",
        type=_output,
        metavar="FILE",
        help="a .png (the photograph with the map laid over it), an .svg (the same with a legend) or a .json",
    )
    top.add_argument("--label", help="name or index of the label (default: the one with the largest logit)")
    top.add_argument("--method", choices=METHODS, default=METHODS[0], help=f"default: {METHODS[0]}")
    top.add_argument("--layer", help="for grad_cam: the layer whose map is shown (default: the last that has one)")
    top.add_argument("--steps", type=int, help="runs of integrated_gradients (default: 64) and smooth_grad (50)")
    add_execution_provider(top)
    return top


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in FORMS:
        raise argparse.ArgumentTypeError(f"{text!r}: a name that ends in {', '.join(FORMS)} is needed")
    return path
