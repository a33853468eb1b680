"""Send captured requests to a service once more, and count how its answers differ.

FILE is what a service with `--capture` and `--capture-pictures` wrote, or the folder of its files. The exit status is 0
if every answer is the same within the tolerance, 1 if one differs, and 2 if the requests cannot be sent.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from service.client.errors import ContraflowError
from service.client.replay.replaying import Replay
from service.client.replay.requests import NOT_KEPT
from service.client.replay.sending import Address
from service.client.replay.tally import Tally
from service.monitoring.capture.reading import captured_files
from service.offline.asking import KEY_VARIABLE, key_of
from service.output.console import FAILED, complain
from service.output.system_errors import error_in_words
from service.output.whole_files import replaced_file
from service.settings.values import MODEL

SAME, DIFFERENT = 0, 1


def main(arguments: Sequence[str], program: str = "python -m service replay") -> int:
    """Replay, print or write what came of it, and return the exit status."""
    options = parser(program).parse_args(arguments)
    try:
        address = Address(options.against.rstrip("/"), key_of(options.key_file), options.timeout)
        replay = Replay(captured_files(options.files), address, options.model, options.tolerance)
        tally = replay.run(options.concurrency)
        _check_that_something_was_sent(tally)
        written = json.dumps(tally.as_json(), ensure_ascii=False, indent=2)
        if options.out is not None:
            with replaced_file(options.out) as stream:
                stream.write(written.encode() + b"\n")
    except (ContraflowError, ValueError, OSError) as error:
        complain(error_in_words(error))
        return FAILED
    print(written if options.json else tally.as_text())
    return DIFFERENT if tally.different else SAME


def _check_that_something_was_sent(tally: Tally) -> None:
    if tally.compared:
        return
    if tally.left_out[NOT_KEPT]:
        raise ValueError(
            "this capture holds no pictures: a service keeps them with --capture-pictures "
            "(CONTRAFLOW_CAPTURE_PICTURES=true)"
        )
    reasons = ", ".join(sorted(tally.left_out)) or "the files are empty"
    raise ValueError(f"there is no captured request that could be sent: {reasons}")


def parser(program: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    top.add_argument("files", type=Path, nargs="+", metavar="FILE", help="captured requests: files, or their folder")
    top.add_argument("--against", required=True, metavar="URL", help="the service to ask, http://HOST:PORT")
    top.add_argument(
        "--model", type=_model, help="ask this model, name or name@version (default: the one each request asked for)"
    )
    top.add_argument(
        "--tolerance",
        type=_tolerance,
        default=1e-4,
        help="how far a probability may be from the captured one, and a tensor of the open protocol relative to its "
        "largest number (default: 1e-4)",
    )
    top.add_argument("--concurrency", type=_count, default=4, help="requests sent at a time (default: 4)")
    top.add_argument("--timeout", type=_seconds, default=60.0, help="seconds to wait for an answer (default: 60)")
    top.add_argument("--key-file", type=Path, help=f"file with the API key (default: the variable {KEY_VARIABLE})")
    top.add_argument("--json", action="store_true", help="print JSON, with up to 1,000 differences")
    top.add_argument("--out", type=Path, metavar="FILE", help="write that JSON to a file too")
    return top


def _model(text: str) -> str:
    if not MODEL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a model's name nor name@version")
    return text


def _tolerance(text: str) -> float:
    return _number(text, least=0.0, words="a number that is not negative")


def _seconds(text: str) -> float:
    return _number(text, least=1e-3, words="a positive number of seconds")


def _number(text: str, least: float, words: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: {words} is needed")
    return number


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 to 1000 is needed")
    return int(text)
