"""Statements of docs/reports/phenomena.md that need no trained net hold on small instances of the same code.

Bounds are those of the page, unless a test says why they are not.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from models.__main__ import main
from models.networks.scalar_nets import ScalarNet, derivatives
from models.phenomena import (
    deeper,
    degradation,
    exploding,
    normalization,
    shattering,
    shattering_laws,
    style,
    vanishing,
)
from models.phenomena.command import write_sections
from models.phenomena.section import Section, Statement, write_section


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def failing(statements: tuple[Statement, ...]) -> list[str]:
    return [f"{one.name}: {one.value:.4g} {one.relation} {one.bound}" for one in statements if not one.holds]


@pytest.fixture(scope="module")
def scalar_nets() -> shattering.Measurement:
    return shattering.measure(draws=20, shown=20, theorem_draws=3)


def test_sigmoid_chains_vanish_and_relu_and_tanh_chains_do_not() -> None:
    measured = vanishing.measure(depths=(5, 10, 20), draws=3)
    assert failing(vanishing.statements(measured)) == []


def test_a_gradient_of_1e_25_is_seen_and_its_square_in_single_precision_is_not() -> None:
    measured = vanishing.measure(depths=(40,), draws=1)
    assert 1e-27 < measured.fall("sigmoid", 40) < 1e-22
    assert measured.lost_in_single_precision(40) > 0


def test_the_bound_per_layer_can_fail() -> None:
    measured = vanishing.measure(depths=(5,), draws=1)
    (draw,) = measured.draws["sigmoid", 5]
    halved = dataclasses.replace(draw, spectral_norm=[norm / 4 for norm in draw.spectral_norm])
    assert vanishing.Measurement({("sigmoid", 5): [halved]}).largest_share_of_bound() > 1


def test_relu_chains_with_twice_the_weights_explode_up_to_overflow() -> None:
    measured = exploding.measure(depths=(5, 20), draws=3, overflow_depths=(48, 56, 64, 96, 120, 128))
    assert failing(exploding.statements(measured)) == []
    assert measured.first_depth("square") == 64
    assert measured.first_depth("gradient") == 128


def test_batch_normalization_makes_the_scale_irrelevant_and_leaves_a_slow_growth() -> None:
    measured = normalization.measure(depths=(40,), draws=2)
    assert failing(normalization.statements(measured)) == []


def test_the_scalar_nets_show_what_balduzzi_et_al_saw(scalar_nets: shattering.Measurement) -> None:
    assert failing(shattering.statements(scalar_nets)) == []


def test_without_centering_the_scalar_nets_would_refute_the_paper(scalar_nets: shattering.Measurement) -> None:
    """The statements can fail: they must, on plain nets that are not centred."""
    wrong = derivatives(ScalarNet("plain", 24), draws=20)
    planted = dataclasses.replace(scalar_nets, gradients=scalar_nets.gradients | {"24 layers, plain": wrong})
    names = {statement.name for statement in shattering.statements(planted) if not statement.holds}
    assert {"residual_above_plain", "plain_is_white"} <= names


def test_the_theorem_as_quoted_exceeds_one_where_ours_does_not() -> None:
    quoted = [1 / (shattering_laws.BRANCH_SCALE * math.sqrt(depth + 1)) for depth in (1, 50, 98)]
    ours = [1 / math.sqrt(1 + shattering_laws.BRANCH_SCALE**2 * depth) for depth in (1, 50, 98)]
    assert min(quoted) > 1 > max(ours)


def record(errors: list[float], norms: list[float]) -> dict[str, Any]:
    epochs = [
        {
            "epoch": at + 1,
            "train_error": error,
            "test_error": error + 0.05,
            "gradient_norms": {f"layer{position}": norm for position, norm in enumerate(norms)},
        }
        for at, error in enumerate(errors)
    ]
    final = {"train_error": errors[-1], "test_error": errors[-1] + 0.05}
    return {"epochs": epochs, "final": final, "data_set": "made up for the test", "recipe": {"epochs": len(errors)}}


def degraded() -> dict[str, dict[str, Any]]:
    healthy, vanished = [1.0, 2.0, 1.5], [1e-9, 1e-4, 1.0]
    return {
        "plain20": record([0.5, 0.12], healthy),
        "resnet20": record([0.5, 0.1], healthy),
        "plain56": record([0.6, 0.3], healthy),
        "resnet56": record([0.5, 0.08], healthy),
        "plain20-sigmoid": record([0.9, 0.9], vanished),
    }


def test_degradation_is_read_from_the_records_with_its_sign() -> None:
    measured = degradation.Measurement(degraded())
    assert failing(degradation.statements(measured)) == []
    assert measured.less("plain56", "resnet56") == pytest.approx(0.22)
    better = degraded() | {"plain56": record([0.5, 0.05], [1.0, 2.0, 1.5])}
    assert broken(better) == {"plain_train", "plain_test", "gap_56", "gap_grows"}
    worse = degraded() | {"resnet56": record([0.5, 0.11], [1.0, 2.0, 1.5])}
    assert broken(worse) == {"resnet_train", "resnet_test"}


def broken(records: dict[str, dict[str, Any]]) -> set[str]:
    return {one.name for one in degradation.statements(degradation.Measurement(records)) if not one.holds}


def test_networks_that_were_not_trained_alike_are_not_said_to_show_what_depth_does() -> None:
    longer = degraded() | {"resnet56": record([0.5, 0.3, 0.08], [1.0, 2.0, 1.5])}
    assert broken(longer) == {"one_budget"}
    assert "by recipes that differ" in degradation.section(degradation.Measurement(longer), "made up").paragraphs[0]
    other, same = degraded(), degraded()
    other["resnet56"]["recipe"]["mirror"] = "alternate"
    assert broken(other) == {"one_budget"}
    same["resnet56"]["recipe"]["mirror"] = "random"  # what was done before records said it
    assert broken(same) == set()


def test_a_pair_of_deeper_networks_joins_the_section_and_one_alone_does_not() -> None:
    records = degraded() | {"plain110": record([0.7, 0.5], [1.0, 2.0, 1.5])}
    assert degradation.Measurement(records).depths == [20, 56]
    records["resnet110"] = record([0.5, 0.07], [1.0, 2.0, 1.5])
    section = degradation.section(degradation.Measurement(records), "made up")
    assert [line.split(" | ")[0] for line in section.table.splitlines()[2:]] == [
        f"| {family}{depth}" for family in ("plain", "resnet") for depth in (20, 56, 110)
    ]
    assert {"plain_110", "gap_110"} <= {one.name for one in section.statements if one.holds}


def test_what_is_kept_of_a_deeper_run_says_the_same_as_the_run(tmp_path: Path) -> None:
    run = record([0.7, 0.5, 0.4], [1.0, 2.0, 1.5]) | {"model": "plain110", "seed": 0}
    run["epochs"][1]["gradient_norms"]["layer0"] = 0.1
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "training.json").write_text(json.dumps(run))
    assert main(["deeper", str(tmp_path / "run"), "--docs", str(tmp_path)]) == 0
    kept = deeper.read(tmp_path)
    assert [bool(epoch["gradient_norms"]) for epoch in kept["plain110"]["epochs"]] == [False, True, False]
    ours, theirs = degradation.Measurement(kept), degradation.Measurement({"plain110": run})
    assert ours.flattest("plain110") == theirs.flattest("plain110")
    assert ours.final("plain110") == theirs.final("plain110")


def test_a_vanished_layer_in_any_epoch_breaks_the_claim_of_healthy_norms() -> None:
    records = degraded()
    records["plain56"]["epochs"][0]["gradient_norms"]["layer0"] = 1e-6
    assert broken(records) == {"not_vanishing"}


def test_degradation_over_seeds_must_hold_for_every_seed() -> None:
    runs = [("plain20", 0.2), ("plain56", 0.5), ("resnet56", 0.2)]
    seeds = [degradation.SeedResult(model, seed, error) for seed in range(3) for model, error in runs]
    assert failing(degradation.statements(degradation.Measurement(degraded(), tuple(seeds)))) == []
    seeds[1] = degradation.SeedResult("plain56", 0, 0.19)
    names = {
        one.name for one in degradation.statements(degradation.Measurement(degraded(), tuple(seeds))) if not one.holds
    }
    assert names == {"seeds_degradation", "seeds_residual"}


def test_sections_stand_in_order_on_one_page_whichever_is_written_first(tmp_path: Path) -> None:
    def section(position: int, key: str, value: float) -> Section:
        claim = Statement("claim", "a number", value, "≥", 1.0)
        return Section(position, key, key.title(), Figure(), ("Text.",), (claim,), f"make {key}", "`/here`")

    written = tmp_path / "reports/phenomena.md"
    write_section(section(7, "path", 2.0), tmp_path)
    written.write_text(written.read_text().replace("Measured by", "On a Friday, measured by"))
    for one in (section(1, "vanishing", 0.5), section(7, "path", 3.0)):
        write_section(one, tmp_path)
    page = written.read_text()
    assert page.startswith("# Phenomena of deep networks\n\nOn a Friday, measured by"), "the head is written by hand"
    assert (written.parent / re.findall(r"!\[Path\]\((.*)\)", page)[0]).exists()
    assert page.index("## 1. Vanishing") < page.index("## 7. Path")
    assert page.count("## 7. Path") == 1
    assert "a number: **3** (asserted ≥ 1)" in page
    assert "**Does not hold here:** a number: **0.5**" in page
    assert (tmp_path / "figures/path.svg").exists()


def test_a_statement_on_nan_never_holds() -> None:
    assert not Statement("n", "s", math.nan, "≥", 0).holds
    assert not Statement("n", "s", math.nan, "≤", 0).holds


def test_a_failing_statement_is_the_commands_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    false = Statement("claim", "a number", 0.5, "≥", 1.0)
    section = Section(1, "k", "T", Figure(), (), (false,), "c", "s")
    assert write_sections({"k": lambda: section}, tmp_path) == 1
    assert "claim does not hold: 0.5, asserted ≥ 1" in capsys.readouterr().out


def test_figures_are_small_and_the_same_each_time(tmp_path: Path, scalar_nets: shattering.Measurement) -> None:
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    with style.drawing():
        for file in files:
            shattering.draw(scalar_nets).savefig(file, metadata={"Date": None})
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size < 150_000


def test_the_command_writes_page_and_figure(tmp_path: Path) -> None:
    assert main(["phenomena", "--only", "exploding", "--docs", str(tmp_path)]) == 0
    page = (tmp_path / "reports/phenomena.md").read_text()
    assert "## 2. Exploding gradients" in page
    assert "Does not hold" not in page
    assert "its square, summed in float32" in (tmp_path / "figures/exploding.svg").read_text()
