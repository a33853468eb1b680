"""How often `check --against` catches a regression, and how often it is a false alarm → docs/reports/versions.md.

DATA has the folder `test`, with one folder per label: CIFAR-10's, for the shipped networks. About a quarter of an hour
on one core.
"""

from __future__ import annotations

from pathlib import Path

from bench.flips.altered import Altered, altered, labelled_pixels, others
from bench.flips.draws import broken_in, chance_of_certain, chance_of_more, in_draws
from bench.flips.reexports import ALL, BY_CHANNEL, Reexport, reexports
from bench.harness.page import made_by, parser_of, publish, table
from bench.harness.paths import DOCS
from service.offline.against.limits import Most

COMMAND = "python -m bench.flips"
LIMIT = Most(0.005, True)
SHARES = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01)
"""True shares of negative flips."""
OTHERS = ("plain20", "resnet56")


def draw_row(one: Altered, images: int, draws: int, number: int) -> str:
    flips = one.flips
    broken = broken_in(flips, LIMIT, images, draws, number)
    true = f"{100 * flips.negative / flips.images:.2f} %"
    return f"{one.name} | {true} | {100 * flips.positive / flips.images:.2f} % | {in_draws(broken, draws)}"


def chance_row(share: float, images: int) -> str:
    found = [100 * chance(LIMIT.number, images, share) for chance in (chance_of_more, chance_of_certain)]
    return f"{100 * share:g} % | {found[0]:.2f} % | {found[1]:.2f} %"


def reexport_row(kind: str, found: list[Reexport]) -> str:
    images = sum(one.images for one in found)
    flips, moved = sum(one.flips for one in found), sum(len(one.moved) for one in found)
    return f"{kind} | {len(found)} | {images:,} | {flips} | {moved}"


def reexport_section(found: list[Reexport]) -> str:
    kinds = dict.fromkeys(one.kind for one in found)
    rows = [reexport_row(kind, [one for one in found if one.kind == kind]) for kind in kinds]
    changed = [one for one in found if one.flips or one.moved]
    lines = [f"- {one.kind}, {one.name}: {one.flips} flips, moved: {', '.join(one.moved)}" for one in changed]
    every = reexport_row(f"together, without {BY_CHANNEL}", [one for one in found if one.kind != BY_CHANNEL])
    shown = table("written otherwise | networks | images | flips | layers moved", [*rows, every])
    return "\n".join([shown, "", *lines])


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "versions.md")
    parser.add_argument("--data", type=Path, required=True, help="folder with test/LABEL/…")
    parser.add_argument("--images", type=int, default=2000, help="in each draw")
    parser.add_argument("--population", type=int, default=10_000, help="images that are drawn from, at most")
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3, help="altered networks for each share")
    parser.add_argument("--kinds", nargs="*", choices=ALL, default=ALL, help="ways of writing a network otherwise")
    parser.add_argument("--networks", type=int, default=100, help="of each of them, at most")
    options = parser.parse_args()
    pixels = labelled_pixels(options.data / "test", options.population)
    subjects = [*altered(pixels, list(SHARES), options.seeds), *others(pixels, OTHERS)]
    rows = [draw_row(one, options.images, options.draws, number) for number, one in enumerate(subjects)]
    again = list(reexports(tuple(options.kinds), options.networks))
    text = [
        f"{made_by(COMMAND)}: {options.draws:,} draws of {options.images:,} from {len(pixels.labels):,} labelled "
        "images, with replacement, and the limit `--most-negative-flips 0.5%`.",
        table("resnet20 against itself with | negative flips | positive flips | limit broken in (95 % interval)", rows),
        "By the binomial distribution, with the rule that is used and with one that waits for certainty:",
        table(
            "true share of negative flips | broken: more than 0.5 % found | broken only if the interval is above 0.5 %",
            [chance_row(share, options.images) for share in (0.0, *SHARES)],
        ),
        "Networks beside themselves:",
        reexport_section(again) if again else "",
    ]
    publish(options, COMMAND, "\n\n".join(text))


if __name__ == "__main__":
    main()
