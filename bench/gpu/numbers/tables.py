"""The sections of the parts `graphs` and `replays`: one table for each kind of row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.gpu.part import Row
from bench.harness.page import table


def section(rows: Sequence[Row]) -> str:
    """Return a table for each kind that has rows."""
    parts = []
    for kind, (title, header, cells) in KINDS.items():
        own = _by_net([row for row in rows if row["key"].startswith(f"{kind}/")])
        if own:
            parts += [f"#### {title}", table(header, [line for row in own for line in cells(row)])]
    return "\n\n".join(parts)


def _agreement(row: Row) -> Iterator[str]:
    cells = [row["net"], row["graph"]]
    for word in ("float32", "tf32"):
        for judged in ("same", "free"):
            errors = row.get(word, {}).get(judged, {})
            cells.append(_worst(errors, "largest"))
        cells.append(_worst(row.get(word, {}).get("same", {}), "entry", "_norm"))
        cells.append({True: "yes", False: "**no**", None: ""}[row.get(f"finite {word}")])
    on_cpu = ", ".join(f"{count} {operator}" for operator, count in row.get("on_cpu", {}).items())
    total = sum(row.get("nodes", {}).values()) or row.get("placement", "")
    yield " | ".join([*cells, str(total), on_cpu or "none", str(row.get("copies", ""))])


def _defaults(row: Row) -> Iterator[str]:
    for name, value in row["options"].items():
        yield f"{name} | {value}"


def _option(row: Row) -> Iterator[str]:
    for size, found in row["sizes"].items():
        where = f"{row['net']} | {row['graph']} | {size} | {row['option']} | {row['open_s']:.2f}"
        if "error" in found:
            yield f"{where} | | | | {found['error']}"
        else:
            differs = f"{found['difference']:.0e}" if "difference" in found else ""
            in_turn = f"{found['in_turn_ms']:.3f}" if "in_turn_ms" in found else ""
            yield f"{where} | {found['first_s']:.3f} | {found['steady_ms']:.3f} | {in_turn} | {differs}"


def _sizes(found_by: str) -> Callable[[Row], Iterator[str]]:
    """Return what makes one line of a row that has a finding for each of many sizes."""

    def line(row: Row) -> Iterator[str]:
        found = row[found_by]
        unsound = [size for size, each in found.items() if not each["finite"]]
        errors = ", ".join(f"{size}: {each['error']:.0e}" for size, each in found.items())
        yield f"{row['net']} | {row['graph']} | {f'**not at {unsound}**' if unsound else 'yes'} | {errors}"

    return line


def _truth(row: Row) -> Iterator[str]:
    yield f"{row['net']} | {row['graph']} | {row['truth']} | {_worst(row['errors'], 'largest')}"


def _by_net(rows: Sequence[Row]) -> list[Row]:
    """Put the rows of each net together, nets and rows in the order in which they were measured."""
    first = {row.get("net"): number for number, row in reversed([*enumerate(rows)])}
    return sorted(rows, key=lambda row: first[row.get("net")])


def _worst(errors: dict[str, dict[str, float]], kind: str, ending: str = "") -> str:
    """Return the largest error of the outputs whose names end so; nothing where there are none."""
    values = [error[kind] for name, error in errors.items() if name.endswith(ending)]
    return f"{max(values):.0e}" if values else ""


KINDS: dict[str, tuple[str, str, Callable[[dict[str, Any]], Iterator[str]]]] = {
    "defaults": ("The provider's options where none is given", "option | value", _defaults),
    "agreement": (
        "Errors against float64, and where the nodes ran",
        "net | graph | float32: outputs | float64 chooses | each norm | finite"
        " | TF32: outputs | float64 chooses | each norm | finite | nodes | nodes on the CPU | copies",
        _agreement,
    ),
    "option": (
        "Options of the CUDA provider",
        "net | graph | batch | option | opened in s | first answer in s | ms, same size again | ms, sizes in turn"
        " | differs from plain",
        _option,
    ),
    "scales": (
        "Gradients of any size",
        "net | graph | finite | error, by the power of 2 that the gradients are multiplied by",
        _sizes("factors"),
    ),
    "batches": (
        "Batches of any size",
        "net | graph | finite | error of the first sample, by batch size",
        _sizes("sizes"),
    ),
    "truth": ("Float64 on the card against float64 on the CPU", "net | graph | ran on | differs", _truth),
}
"""Start of the key of rows → title, header, and what makes lines of a row."""
