"""The sections on trained nets: estimators agree with hand calculations, and statements hold on shipped bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from export.__main__ import main
from export.phenomena.command import degradation_measured
from export.phenomena.features import LayerSeparation, Measurement, separation, statements
from export.phenomena.image_shattering import (
    autocorrelation,
    gradient_of_bundle,
    gradient_of_network,
    references,
    straight_path,
    unit,
)
from export.phenomena.shipped import network, network_input, read_bundles, read_photographs, session
from export.statistics.separability import pool
from models.phenomena import degradation, identity
from models.training.data import DataError
from service.contract.bundle_schema import Bundle

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / "models" / "bundles"
SAMPLES = ROOT / "tests" / "photographs"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bundles() -> dict[str, Bundle]:
    return read_bundles(BUNDLES)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Bundle]) -> Path:
    """Write a folder with two photographs per label."""
    folder = tmp_path_factory.mktemp("photographs")
    for label in bundles["plain20"].labels:
        (folder / label).mkdir()
        for at, name in enumerate((f"{label}.jpg", f"{label}2.jpg")):
            with Image.open(SAMPLES / name) as image:
                image.convert("RGB").resize((32, 32)).save(folder / label / f"{at}.png")
    return folder


@pytest.mark.parametrize("name", ["plain20", "resnet20", "plain20-sigmoid"])
def test_the_network_rebuilt_in_torch_answers_as_the_bundle(name: str, bundles: dict[str, Bundle]) -> None:
    images = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        rebuilt = network(BUNDLES, bundles[name])(torch.from_numpy(images)).numpy()
    answered = session(BUNDLES, bundles[name], "forward").run(["logits"], {"input": images})[0]
    np.testing.assert_allclose(rebuilt, answered, rtol=1e-4, atol=1e-4)


def test_section_5_holds_on_a_shipped_net(bundles: dict[str, Bundle]) -> None:
    measured = identity.measure({"plain20": network(BUNDLES, bundles["plain20"])}, images=2)
    assert [one.name for one in identity.statements(measured) if not one.holds] == []


def test_section_4_holds_on_the_shipped_records(bundles: dict[str, Bundle]) -> None:
    claims = degradation.statements(degradation_measured(ROOT / "docs", bundles))
    named = {"plain_train", "plain_test", "resnet_train", "resnet_test", "not_vanishing", "sigmoid_vanishes"}
    assert named <= {one.name for one in claims}
    assert [one.name for one in claims if not one.holds] == []


def test_the_bundles_input_gradient_is_torchs(bundles: dict[str, Bundle], photographs: Path) -> None:
    bundle = bundles["resnet20"]
    inputs = network_input(bundle, read_photographs(photographs, bundle.labels, 1).images[:4])
    by_bundle = gradient_of_bundle(session(BUNDLES, bundle, "input_gradient"))(inputs, 3)
    by_torch = gradient_of_network(network(BUNDLES, bundle))(inputs, 3)
    np.testing.assert_allclose(by_bundle, by_torch, rtol=1e-3, atol=1e-4 * np.abs(by_torch).max())


def test_a_path_leads_from_the_first_photograph_to_the_second() -> None:
    first, second = np.zeros((3, 4, 4), np.float32), np.ones((3, 4, 4), np.float32)
    path = straight_path(first, second, 5)
    assert path[:, 0, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert path.shape == (5, 3, 4, 4)


def test_autocorrelation_sums_over_the_inputs_numbers() -> None:
    series = np.random.default_rng(1).normal(size=(20, 3)).cumsum(axis=0)
    centred = series - series.mean(axis=0)
    by_hand = [(centred[: 20 - lag] * centred[lag:]).sum() / (centred**2).sum() for lag in range(4)]
    assert autocorrelation(series, 4).tolist() == pytest.approx(by_hand)


def test_references_are_white_and_brown() -> None:
    white, brown = references(64, 8)
    assert abs(white[1]) < 0.05
    assert brown[1] > 0.9


def test_unit_gradients_have_norm_one_whatever_their_scale() -> None:
    gradients = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32) * 1e-12
    assert np.linalg.norm(unit(gradients), axis=1).tolist() == pytest.approx([1] * 4)


def test_pooling_is_the_mean_of_the_four_quarters() -> None:
    maps = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert pool(maps)[0].tolist() == [2.5, 4.5, 10.5, 12.5]


def separated(distance: float) -> LayerSeparation:
    """Three Gaussian classes whose means lie `distance` deviations apart along axes of their own."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(3), 200)
    features = generator.normal(size=(600, 5))
    features[np.arange(600), classes] += distance
    return separation("layer", features, classes, np.arange(600) % 2 == 0)


def test_probes_separate_classes_as_far_as_they_are_apart() -> None:
    none, some, all_ = (separated(distance) for distance in (0.0, 2.0, 8.0))
    assert none.linear_probe == pytest.approx(1 / 3, abs=0.1)
    assert 0.6 < some.linear_probe < 0.95
    assert all_.linear_probe == all_.nearest_mean == 1.0


def test_probes_are_judged_on_photographs_that_did_not_fit_them() -> None:
    """A probe with more features than photographs fits even noise: test it on others than it was trained on."""
    generator = np.random.default_rng(0)
    classes = np.tile(np.arange(4), 30)
    measured = separation("noise", generator.normal(size=(120, 300)), classes, np.arange(120) < 60)
    assert measured.linear_probe < 0.45


def test_a_net_whose_layers_do_not_separate_more_and_more_breaks_section_8() -> None:
    flat = [LayerSeparation("first", 0.5, 0.5), LayerSeparation("last", 0.52, 0.5)]
    measured = Measurement({"plain20": flat}, 10, 10, 10, {})
    assert [one.holds for one in statements(measured)] == [False, False]


def test_a_data_sets_folder_gives_its_test_photographs(tmp_path: Path, photographs: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").symlink_to(photographs)
    read = read_photographs(tmp_path, ("cat", "dog"), 2)
    assert np.array_equal(read.images, read_photographs(photographs, ("cat", "dog"), 2).images)
    with pytest.raises(DataError, match="unpack the archive"):
        read_photographs(tmp_path / "data.tar.xz", ("cat",), 1)


def test_a_class_with_too_few_photographs_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="cat has 0 photographs; 2 are needed"):
        read_photographs(tmp_path, ("cat",), 2)


def test_a_photograph_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png: not a readable image"):
        read_photographs(tmp_path, ("cat",), 1)


def test_without_photographs_only_what_needs_none_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phenomena", "--only", "degradation", "--only", "path", "--docs", str(tmp_path)]) == 0
    assert "path: left as it is; it needs --data" in capsys.readouterr().out
    page = (tmp_path / "reports/phenomena.md").read_text()
    assert "## 4. Degradation" in page
    assert "## 7." not in page


def test_a_folder_without_our_networks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phenomena", "--bundles", str(tmp_path)]) == 2
    assert "none of the bundles plain20" in capsys.readouterr().out


@pytest.mark.slow
def test_sections_7_and_8_hold_on_few_photographs(tmp_path: Path, photographs: Path) -> None:
    """Section 8 is left out, because its probes need more photographs than a repository should carry."""
    assert (
        main(["phenomena", "--only", "path", "--paths", "2", "--data", str(photographs), "--docs", str(tmp_path)]) == 0
    )
    assert "Does not hold" not in (tmp_path / "reports/phenomena.md").read_text()
