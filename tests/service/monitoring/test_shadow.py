"""`shadow`: a share of the live images goes through a second version too, and no answer is another for it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.monitoring.shadow.pair import Pair
from tests.service.held_runs import held_runs
from tests.service.imported_bundles import write_independent
from tests.service.live_server import LiveServer, best_label, picture, running, wait_until
from tests.service.tiny_bundles import ENDLESS, write_bundle
from tests.service.two_versions import PHOTOGRAPHS, two_versions

RED, GREEN, BLUE = (picture(colour) for colour in ("red", "#00ff00", "blue"))

Json = dict[str, Any]


def told(client: httpx.Client) -> Json:
    answer = client.get("/diagnostics/shadow")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def drawn(server: LiveServer) -> int:
    """Number of images that were drawn, and of which it is known what became of them."""
    shadowing = server.state.shadowing
    assert shadowing is not None
    return shadowing.record.answers.counts.total() if shadowing.record else 0


def send(server: LiveServer, client: httpx.Client, images: list[bytes], **query: str) -> list[httpx.Response]:
    """Predict each image once the one before has been compared, as on a service with time to spare."""
    answers = []
    for image in images:
        before = record_and_count(server)
        answers.append(client.post("/predict", params=query, content=image))
        wait_until(lambda before=before: record_and_count(server) != before and is_at_rest(server))
    return answers


def record_and_count(server: LiveServer) -> tuple[Any, int]:
    assert server.state.shadowing is not None
    return server.state.shadowing.record, drawn(server)


def is_at_rest(server: LiveServer) -> bool:
    shadowing = server.state.shadowing
    assert shadowing is not None
    return (shadowing._task is None or shadowing._task.done()) and server.state.engine.scheduler.running == 0


def series(client: httpx.Client, name: str) -> dict[str, float]:
    """Return a metric by the outcome that it names, "" where it names none."""
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    samples = families[name].samples if name in families else []
    return {one.labels.get("outcome", ""): one.value for one in samples if not one.name.endswith("_created")}


# ---------------------------------------------------------------- two real networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of resnet20; the second takes cats for dogs, and dogs for cats."""
    return two_versions(tmp_path_factory.mktemp("two"))


@pytest.fixture
def server(folder: Path) -> Iterator[LiveServer]:
    with running(folder, shadow="resnet20@2", shadow_share=1.0, shadow_gradients=1.0, warm_up=False) as server:
        yield server


def test_disagreements_are_counted_by_the_labels_of_both(server: LiveServer) -> None:
    with server.client() as client:
        answers = send(server, client, list(PHOTOGRAPHS.values()))
        said = [best_label(answer) for answer in answers]
        assert {answer.json()["version"] for answer in answers} == {"1"}
        found = told(client)
        for counted in (found["all"], found["window"]):
            swapped = [(one, other) for one, other in (("cat", "dog"), ("dog", "cat")) if one in said]
            assert counted["compared"] == len(PHOTOGRAPHS)
            assert counted["disagreements"]["count"] == said.count("cat") + said.count("dog") > 0
            assert counted["agreements"] == counted["compared"] - counted["disagreements"]["count"]
            pairs = [(pair["answered"], pair["shadow"], pair["images"]) for pair in counted["pairs"]]
            assert sorted(pairs) == sorted((one, other, said.count(one)) for one, other in swapped)
            assert counted["largest_difference"] > 0.5
            assert 0 < counted["mean_difference"] < counted["largest_difference"]
        assert (found["state"], found["model"], found["shadow"]) == ("comparing", "resnet20@1", "resnet20@2")
        count = found["all"]["disagreements"]["count"]
        assert series(client, "contraflow_shadow_disagreements") == {"": count}
        assert series(client, "contraflow_shadow_images") == {"compared": len(said), "dropped": 0, "failed": 0}
        assert series(client, "contraflow_shadow_disagreement_share") == {"": count / len(said)}
        assert series(client, "contraflow_shadow_comparing") == {"": 1.0}
        assert f"{count} of {len(said)} images" in found["because"]


def test_the_layers_are_those_that_compare_finds(server: LiveServer) -> None:
    with server.client() as client:
        (answer,) = send(server, client, [PHOTOGRAPHS["horse"]])
        found = told(client)["layers"]
        both = {"model": ["resnet20@1", "resnet20@2"], "label": best_label(answer)}
        asked = client.post("/diagnostics/compare", params=both, content=PHOTOGRAPHS["horse"]).json()
        assert found["images"] == 1
        assert [one["layer"] for one in found["differences"]] == [one["layer"] for one in asked["differences"]]
        for one, other in zip(found["differences"], asked["differences"], strict=True):
            assert one["decades"] == pytest.approx(other["decades"], abs=1e-5)
        assert found["moved"] == [one["layer"] for one in asked["differences"] if one["moved"]]


def test_every_image_of_a_request_may_be_drawn_and_they_run_one_by_one(server: LiveServer) -> None:
    with server.client() as client:
        files = [("images", content) for content in PHOTOGRAPHS.values()]
        answer = client.post("/predict", files=files)
        wait_until(lambda: drawn(server) == len(files) and is_at_rest(server))
        found = told(client)["all"]
        assert found["compared"] == len(files)
        said = [one["labels"][0]["label"] for one in answer.json()["predictions"]]
        assert found["disagreements"]["count"] == said.count("cat") + said.count("dog")
        forward = server.state.ledger.tallies["resnet20@2", "forward"]
        assert (forward.images, forward.batch_size.count) == (len(files), len(files))


def test_the_open_protocol_is_compared_too(server: LiveServer) -> None:
    tensor = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    inputs = [{"name": "input", "datatype": "FP32", "shape": tensor.shape, "data": tensor.ravel().tolist()}]
    with server.client() as client:
        assert client.post("/v2/models/resnet20/infer", json={"inputs": inputs}).json()["model_version"] == "1"
        wait_until(lambda: drawn(server) == 1 and is_at_rest(server))
        assert told(client)["all"]["compared"] == 1


def test_who_names_the_version_gets_it_and_is_not_compared(server: LiveServer) -> None:
    with server.client() as client:
        answer = client.post("/predict", params={"model": "resnet20@2"}, content=PHOTOGRAPHS["cat"])
        assert answer.json()["version"] == "2"
        send(server, client, [PHOTOGRAPHS["ship"]])
        assert told(client)["all"]["compared"] == 1


# ---------------------------------------------------------------- small classifiers


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Two versions of a classifier of colours; the second calls everything blue."""
    write_bundle(tmp_path, "colour", version="1")
    write_bundle(tmp_path, "colour", version="2", bias=(0.0, 0.0, 100.0))
    return tmp_path


def shadowed(folder: Path, **settings: Any) -> Any:
    return running(folder, **{"shadow": "colour@2", "shadow_share": 1.0, **settings})


def test_only_who_names_the_version_gets_the_shadows_answer(colours: Path) -> None:
    with shadowed(colours, shadow_share=0.0) as server, server.client() as client:
        assert best_label(client.post("/predict", content=RED)) == "red"
        assert best_label(client.post("/predict", params={"model": "colour"}, content=RED)) == "red"
        assert best_label(client.post("/predict", params={"model": "colour", "version": "2"}, content=RED)) == "blue"
        listing = client.get("/models").json()
        assert listing["shadow"] == "colour@2"
        assert [one["version"] for one in listing["models"] if one["default"]] == ["1"]


def test_a_shadow_of_another_name_is_compared_with_the_default(colours: Path) -> None:
    write_bundle(colours, "another", bias=(100.0, 0.0, 0.0))
    with shadowed(colours, shadow="another@1") as server, server.client() as client:
        assert best_label(client.post("/predict", content=GREEN)) == "blue"
        send(server, client, [GREEN, RED])
        found = told(client)
        assert found["model"] == "colour@2"
        assert found["all"]["pairs"] == [{"answered": "blue", "shadow": "red", "images": found["all"]["compared"]}]


def test_labels_are_matched_by_name_whatever_their_order_and_the_pictures_size(tmp_path: Path) -> None:
    write_bundle(tmp_path, "colour", version="1", labels=("red", "green", "blue"))
    write_bundle(tmp_path, "colour", version="2", size=16, labels=("red", "lime", "blue"))
    with shadowed(tmp_path) as server, server.client() as client:
        send(server, client, [RED, GREEN, BLUE])
        found = told(client)
        assert found["all"]["disagreements"]["count"] == 1
        assert found["all"]["pairs"] == [{"answered": "green", "shadow": "lime", "images": 1}]
        assert found["all"]["largest_difference"] == pytest.approx(0, abs=1e-3)
        notes = " ".join(found["notes"])
        assert "colour@1 has 1 label that colour@2 does not have: green." in notes
        assert "colour@2 has 1 label that colour@1 does not have: lime." in notes


def test_independent_labels_disagree_where_their_sets_do(tmp_path: Path) -> None:
    for version, bias in (("1", (-5.0, -5.0, -5.0)), ("2", (-5.0, 5.0, -5.0))):
        write_bundle(tmp_path, "colour", version=version, bias=bias, label_kind="independent")
    with shadowed(tmp_path) as server, server.client() as client:
        send(server, client, [RED, GREEN, picture("black")])
        found = told(client)["all"]
        assert {(one["answered"], one["shadow"]) for one in found["pairs"]} == {
            ("red", "red | green"),
            ("(none)", "green"),
        }
        assert (found["agreements"], found["disagreements"]["count"]) == (1, 2)


def test_the_loss_of_both_is_of_the_label_that_was_answered_wherever_it_stands(tmp_path: Path) -> None:
    write_bundle(tmp_path, "colour", version="1", labels=("red", "green", "blue"))
    write_bundle(tmp_path, "colour", version="2", labels=("blue", "lime", "red"))
    write_bundle(tmp_path, "several", version="1", label_kind="independent")
    write_bundle(tmp_path, "several", version="2", label_kind="independent", labels=("blue", "lime", "red"))
    with shadowed(tmp_path) as server:
        select = server.state.registry.select

        def losses(name: str, *probabilities: float) -> list[Any]:
            pair = Pair(select(f"{name}@1"), select(f"{name}@2"))
            return [labels.tolist() for labels in pair.labels_of_loss(np.array(probabilities, np.float32))]

        assert losses("colour", 0.8, 0.1, 0.1) == [[0], [2]]
        assert losses("colour", 0.1, 0.8, 0.1) == [[1], [-1]], "the shadow has no green, so as it predicts"
        assert losses("several", 0.8, 0.9, 0.1) == [[[1, 1, 0]], [[0, -1, 1]]]


def test_gradients_of_independent_labels_are_compared_too(tmp_path: Path) -> None:
    write_independent(tmp_path / "bundles", "several")
    write_independent(tmp_path / "bundles", "sharper", 3)
    settings: Json = {"default_model": "several", "shadow": "sharper@1", "shadow_gradients": 1.0, "warm_up": False}
    with shadowed(tmp_path / "bundles", **settings) as server, server.client() as client:
        send(server, client, [RED])
        found = told(client)
        assert (found["model"], found["all"]["compared"], found["layers"]["images"]) == ("several@1", 1, 1)
        both = {"model": ["several@1", "sharper@1"]}
        asked = client.post("/diagnostics/compare", params=both, content=RED).json()
        layers = [layer["name"] for layer in asked["models"][0]["layers"]]
        assert [one["layer"] for one in found["layers"]["differences"]] == layers


def test_every_answer_is_right_while_the_shadow_changes_and_goes(colours: Path) -> None:
    wrong: list[str] = []
    ended = threading.Event()

    def ask(server: LiveServer) -> None:
        with server.client() as client:
            while not ended.is_set():
                answer = client.post("/predict", content=RED)
                if answer.status_code != 200 or best_label(answer) != "red":
                    wrong.append(answer.text)

    with shadowed(colours, run_threads=2) as server, server.client() as client:
        clients = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for one in clients:
            one.start()
        for number in range(10):
            seen = drawn(server)
            write_bundle(colours, "colour", version="2", bias=(0.0, 0.0, 100.0 + number))
            server.state.loader.refresh()
            if number % 3 == 2:
                shutil.rmtree(colours / "colour" / "2")
                server.state.loader.refresh()
            else:
                wait_until(lambda seen=seen: drawn(server) not in (0, seen))
        ended.set()
        for one in clients:
            one.join()
        assert told(client)["state"] == "comparing"
    assert wrong == []


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({"label_kind": "independent"}, "the labels of one exclude each other"),
        ({"labels": ("one", "two", "three")}, "they have no label in common"),
    ],
)
def test_two_that_cannot_be_compared_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, description: Json, reason: str
) -> None:
    write_bundle(tmp_path, "colour", version="1")
    write_bundle(tmp_path, "colour", version="2", **description)
    with caplog.at_level(logging.WARNING, "contraflow.shadow"), shadowed(tmp_path) as server, server.client() as client:
        for _ in range(3):
            assert best_label(client.post("/predict", content=RED)) == "red"
        found = told(client)
        assert (found["state"], found["all"]["compared"]) == ("waiting", 0)
        assert reason in found["reason"]
    assert sum(reason in record.getMessage() for record in caplog.records) == 1


def test_a_shadow_that_fails_on_a_picture_is_counted_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_bundle(tmp_path, "colour", version="1")
    write_bundle(tmp_path, "colour", version="2", fails_on_white=True)
    white = picture("white")
    with shadowed(tmp_path) as server, server.client() as client:
        answers = send(server, client, [white, white, RED])
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        found = told(client)
        assert (found["all"]["failed"], found["all"]["compared"]) == (2, 1)
        assert found["last_failure"]
        assert found["window"]["failed"] == 0, "both failed before the first image that was compared"
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in said] == ["contraflow.shadow"]


def test_a_shadow_that_answers_no_numbers_has_failed(tmp_path: Path) -> None:
    write_bundle(tmp_path, "colour", version="1")
    write_bundle(tmp_path, "colour", version="2", bias=(float("nan"),) * 3)
    with shadowed(tmp_path) as server, server.client() as client:
        send(server, client, [RED])
        found = told(client)
        assert (found["all"]["failed"], found["all"]["compared"]) == (1, 0)
        assert "finite" in found["last_failure"]


def test_a_slow_shadow_holds_no_answer_up_and_what_comes_meanwhile_is_dropped(colours: Path) -> None:
    with shadowed(colours, run_threads=2) as server, server.client() as client, held_runs(server, "colour@2") as held:
        assert best_label(client.post("/predict", content=RED)) == "red"
        wait_until(lambda: server.state.engine.scheduler.running == 1)
        for _ in range(5):
            assert best_label(client.post("/predict", content=RED)) == "red"
        assert told(client)["all"]["dropped"] == 5
        held.let_go()
        wait_until(lambda: drawn(server) == 6 and is_at_rest(server))
        assert told(client)["all"]["compared"] == 1


def test_a_shadow_that_never_ends_is_stopped_for_the_next_prediction(tmp_path: Path) -> None:
    """The one run slot is taken by the shadow, which is far slower than a prediction."""
    write_bundle(tmp_path, "colour", version="1")
    write_bundle(tmp_path, "colour", version="2", rounds=ENDLESS)
    with shadowed(tmp_path, warm_up=False) as server, server.client() as client:
        server.state.registry.select("colour@2").graphs["forward"].seconds_per_image = 3600.0
        for number in range(3):
            assert best_label(client.post("/predict", content=RED)) == "red"
            wait_until(lambda: server.state.engine.scheduler.running == 1)
            assert drawn(server) == number
        assert best_label(client.post("/predict", params={"model": "colour@1"}, content=RED)) == "red"
        assert told(client)["all"]["dropped"] >= 3
        assert told(client)["all"]["failed"] == 0
        assert server.state.ledger.tallies["colour@2", "forward"].stopped >= 3


def test_no_answer_is_computed_twice_while_every_slot_runs(colours: Path) -> None:
    """With one slot and two requests at a time, the image of the one is dropped while the other runs."""
    with shadowed(colours) as server, server.client() as client:
        state = server.state
        model = state.registry.select("colour")
        probabilities = np.ones((1, 3), np.float32)

        async def offer_beside(waiting: int) -> None:
            state.engine.scheduler.waiting_images += waiting
            assert state.shadowing is not None
            state.shadowing.offer(model, (RED,), (RED,), probabilities)
            state.engine.scheduler.waiting_images -= waiting

        asyncio.run_coroutine_threadsafe(offer_beside(1), state.engine._loop).result(30)
        assert told(client)["all"]["dropped"] == 1
        assert ("colour@2", "forward") not in state.ledger.tallies


def test_a_shadow_that_is_not_there_is_said_and_compared_once_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_bundle(tmp_path, "colour", version="1")
    with caplog.at_level(logging.INFO, "contraflow.shadow"), shadowed(tmp_path) as server, server.client() as client:
        for _ in range(3):
            assert best_label(client.post("/predict", content=RED)) == "red"
        found = told(client)
        assert (found["state"], found["model"], found["since"]) == ("waiting", None, None)
        assert found["reason"] == found["because"] == "colour has no version '2'; served are 1."
        assert series(client, "contraflow_shadow_comparing") == {"": 0.0}
        write_bundle(tmp_path, "colour", version="2", bias=(0.0, 0.0, 100.0))
        server.state.loader.refresh()
        answers = send(server, client, [RED])
        assert best_label(answers[0]) == "red"
        assert told(client)["all"]["disagreements"]["count"] == 1
    assert [record.levelname for record in caplog.records if record.name == "contraflow.shadow"] == ["WARNING", "INFO"]


@pytest.mark.parametrize("replaced", ["1", "2"])
def test_counting_begins_anew_when_one_of_the_two_is_replaced(colours: Path, replaced: str) -> None:
    with shadowed(colours) as server, server.client() as client:
        send(server, client, [RED, RED])
        assert told(client)["all"]["compared"] == 2
        write_bundle(colours, "colour", version=replaced, bias=(0.0, 200.0, 0.0))
        server.state.loader.refresh()
        send(server, client, [RED])
        found = told(client)["all"]
        said = ("green", "blue") if replaced == "1" else ("red", "green")
        assert found["compared"] == 1
        assert [(one["answered"], one["shadow"]) for one in found["pairs"]] == [said]


def test_a_shadow_that_is_taken_away_ends_the_comparison_and_no_answer(colours: Path) -> None:
    with shadowed(colours) as server, server.client() as client:
        send(server, client, [RED])
        for file in sorted((colours / "colour" / "2").iterdir()):
            file.unlink()
        (colours / "colour" / "2").rmdir()
        server.state.loader.refresh()
        assert best_label(client.post("/predict", content=RED)) == "red"
        found = told(client)
        assert (found["state"], found["all"]["compared"]) == ("waiting", 1)
        assert series(client, "contraflow_shadow_comparing") == {"": 0.0}


def test_where_models_are_loaded_by_name_it_follows_loads_and_unloads(colours: Path) -> None:
    write_bundle(colours, "other")
    settings: Json = {"model_control": "explicit", "load_models": ("other",), "default_model": "other"}
    with shadowed(colours, **settings) as server, server.client() as client:
        client.post("/predict", content=RED)
        assert "colour" in told(client)["reason"]
        assert client.post("/v2/repository/models/colour/load").status_code == 200
        assert best_label(client.post("/predict", params={"model": "colour"}, content=RED)) == "red"
        wait_until(lambda: drawn(server) == 1 and is_at_rest(server))
        assert told(client)["model"] == "colour@1"
        assert client.post("/v2/repository/models/colour/unload").status_code == 200
        assert best_label(client.post("/predict", content=RED)) == "red"
        assert told(client)["state"] == "waiting"


def test_the_only_model_answers_though_it_is_the_shadow(tmp_path: Path) -> None:
    write_bundle(tmp_path, "colour", version="2")
    with shadowed(tmp_path) as server, server.client() as client:
        assert best_label(client.post("/predict", content=RED)) == "red"
        found = told(client)
        assert found["state"] == "waiting"
        assert "no model beside colour@2" in found["reason"]


def test_the_share_is_that_of_the_images(colours: Path) -> None:
    with shadowed(colours, shadow_share=0.25) as server:
        shadowing = server.state.shadowing
        assert shadowing is not None
        shadowing._random.seed(1)
        model = server.state.registry.select("colour")
        probabilities = np.ones((64, 3), np.float32)

        async def offer() -> None:
            shadowing.offer(model, (RED,) * 64, (RED,) * 64, probabilities)

        for _ in range(20):
            asyncio.run_coroutine_threadsafe(offer(), server.state.engine._loop).result(30)
        wait_until(lambda: is_at_rest(server))
        assert 0.2 < drawn(server) / (20 * 64) < 0.3


def test_without_a_shadow_the_address_says_how_to_set_one(tiny_server: LiveServer) -> None:
    with tiny_server.client() as client:
        answer = client.get("/diagnostics/shadow")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:contraflow:problem:no-shadow")
        assert "--shadow" in answer.json()["detail"]
        assert "CONTRAFLOW_SHADOW" in answer.json()["detail"]
        assert "/diagnostics/shadow" not in client.get("/openapi.json").json()["paths"]
        assert client.get("/models").json()["shadow"] is None
        assert "contraflow_shadow_images_total{" not in client.get("/metrics").text


def test_with_a_shadow_the_document_describes_it_and_the_answer_fits(colours: Path) -> None:
    from jsonschema_rs import Draft202012Validator

    with shadowed(colours) as server, server.client() as client:
        send(server, client, [RED])
        document = client.get("/openapi.json").json()
        (content,) = document["paths"]["/diagnostics/shadow"]["get"]["responses"]["200"]["content"].values()
        schema = {**content["schema"], "components": document["components"]}
        assert list(Draft202012Validator(schema).iter_errors(told(client))) == []


def test_more_pairs_than_are_kept_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from service.monitoring.shadow import answers

    monkeypatch.setattr(answers, "MOST_PAIRS", 2)
    counted = answers.Answers()
    for other in ("b", "c", "b", "d", "e", "a"):
        counted.add(("a", other), 0.5, 0.25 if other != "e" else None)
    found = counted.of_all()
    assert [(pair.shadow, pair.images) for pair in found.pairs] == [("b", 2), ("c", 1)]
    assert (found.other_pairs, found.agreements, found.mean_difference) == (2, 1, 0.25)
    assert counted.of_last().other_pairs == 0, "the window is counted exactly"


def test_the_window_forgets_what_the_count_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    from service.monitoring.shadow.answers import WINDOW, Answers

    counted = Answers()
    counted.counts["dropped"] = 7
    counted.add(("a", "b"), 0.9, 0.9)
    counted.counts["dropped"] += 2
    counted.counts["failed"] += 1
    for _ in range(WINDOW):
        counted.add(("a", "a"), 0.1, 0.1)
    every, last = counted.of_all(), counted.of_last()
    assert every.disagreements is not None
    assert last.disagreements is not None
    assert (every.compared, every.disagreements.count, every.dropped) == (WINDOW + 1, 1, 9)
    assert (last.compared, last.disagreements.count, last.dropped, last.failed) == (WINDOW, 0, 0, 0)
    assert (every.largest_difference, last.largest_difference) == (0.9, 0.1)
