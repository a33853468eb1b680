"""The cache of imported bundles: whole entries, whoever writes them, and none for ever."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from service.sources.cache import KEPT_DAYS, ImportCache, users_cache
from tests.service.tiny_bundles import write_bundle

DAY = 86_400


def silent(_: str) -> None:
    pass


def kept(cache: ImportCache, key: str, *versions: str) -> tuple[Path, ...]:
    with cache.part() as part:
        for version in versions or (None,):
            write_bundle(part, "net", version=version)
        return cache.add(part, key)


def grow_old(entry: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(entry, (then, then))


def test_what_was_added_is_found_and_nothing_else_is_left(tmp_path: Path) -> None:
    cache = ImportCache(tmp_path / "cache", silent)
    assert cache.find("key") == ()
    assert kept(cache, "key") == (tmp_path / "cache" / "key" / "net",)
    assert ImportCache(tmp_path / "cache", silent).find("key") == (tmp_path / "cache" / "key" / "net",)
    assert cache.find("other") == ()
    assert os.listdir(tmp_path / "cache") == ["key"]


def test_several_versions_are_one_entry_and_damaged_together(tmp_path: Path) -> None:
    cache = ImportCache(tmp_path, silent)
    bundles = kept(cache, "key", "9", "10")
    assert bundles == cache.find("key") == (tmp_path / "key" / "net" / "9", tmp_path / "key" / "net" / "10")
    (bundles[1] / "forward.onnx").unlink()
    assert cache.find("key") == ()


def test_the_first_of_two_writers_wins_and_both_get_a_whole_bundle(tmp_path: Path) -> None:
    first, second = ImportCache(tmp_path, silent), ImportCache(tmp_path, silent)
    with first.part() as one, second.part() as other:
        write_bundle(one, "net")
        write_bundle(other, "net", bias=(1.0, 0.0, 0.0))
        assert first.add(one, "key") == second.add(other, "key")
    (bundle,) = second.find("key")
    written = write_bundle(tmp_path / "again", "net")
    assert (bundle / "bundle.json").read_bytes() == (written / "bundle.json").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["again", "key"]


def test_a_damaged_entry_is_removed_and_made_anew(tmp_path: Path) -> None:
    cache = ImportCache(tmp_path, silent)
    (bundle,) = kept(cache, "key")
    (bundle / "forward.onnx").write_bytes(b"damaged")
    assert cache.find("key") == ()
    assert kept(cache, "key") == cache.find("key")


def test_entries_that_nobody_uses_go_when_another_one_comes(tmp_path: Path) -> None:
    cache = ImportCache(tmp_path, silent)
    ages = {"unused": KEPT_DAYS + 1, "used": KEPT_DAYS + 1, "young": KEPT_DAYS - 1}
    for key in ages:
        kept(cache, key)
    for key, days in ages.items():
        grow_old(tmp_path / key, days)
    (tmp_path / ".importing.killed").mkdir()
    grow_old(tmp_path / ".importing.killed", 2)
    (tmp_path / "somebody's").mkdir()
    grow_old(tmp_path / "somebody's", 1000)
    assert cache.find("used")
    kept(cache, "new")
    assert sorted(os.listdir(tmp_path)) == ["new", "somebody's", "used", "young"]


@pytest.mark.parametrize(
    ("folder", "reason"), [("file/cache", r"file/cache: Not a directory"), (None, "this user has no home")]
)
def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_one_and_said(
    tmp_path: Path, folder: str | None, reason: str
) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    cache = ImportCache(tmp_path / folder if folder else None, said.append)
    (bundle,) = kept(cache, "key")
    kept(cache, "second")
    assert cache.find("key") == (bundle,)
    assert len(said) == 1
    assert said[0].startswith(f"imports are kept in {bundle.parents[1]} until the end")
    assert said[0].endswith(reason)
    shutil.rmtree(bundle.parents[1])


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"CONTRAFLOW_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/contraflow"),
        ({"XDG_CACHE_HOME": "relative"}, "~/.cache/contraflow"),
        ({}, "~/.cache/contraflow"),
    ],
)
def test_the_cache_is_where_users_expect_it(environment: dict[str, str], folder: str) -> None:
    assert users_cache(environment) == Path(folder).expanduser()
