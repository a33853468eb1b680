"""The sources of all paths that are to be served; the one bundle at a path that is to be judged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from service.bundles.folder import look_at, look_at_bundle
from service.bundles.source import FolderSource, Source
from service.output.printable import printable
from service.sources.cache import ImportCache, users_cache
from service.sources.flags import are_for_several, names_of
from service.sources.imported import ImportedModel
from service.sources.importing import ImportProcess
from service.sources.kinds import Kind, SourceError, kind_of

LONGEST_WAIT: Final = 20.0
"""Seconds for which a start waits for imports, so that a model that is refused ends it. Then the service answers, and
says that it imports; an orchestrator might take a longer silence for a failure."""


def open_sources(
    paths: Sequence[Path], flags: Sequence[str], cache_folder: Path | None, say: Callable[[str], None]
) -> list[Source]:
    """Return a source for every path, each path once.

    Models are imported, in the background if that takes longer than `LONGEST_WAIT`. One that is refused keeps no
    other path from being served.

    Raises:
        SourceError: nothing can be served from a path, no path gives a model, or it is not clear what `flags` are for.
    """
    kinds: dict[Path, Kind] = {}
    places: set[str] = set()
    for path in map(_named, paths):
        kind, place = kind_of(path), os.path.realpath(path)
        if place not in places:
            kinds[path] = kind
            places.add(place)
    models = [path for path, kind in kinds.items() if kind == "model"]
    _check_flags(flags, models, list(kinds))
    cache, process = ImportCache(cache_folder, say), ImportProcess(say)
    imported = {path: ImportedModel(path, flags, cache, process) for path in models}
    try:
        for model in imported.values():
            model.begin()
        end = time.monotonic() + LONGEST_WAIT
        for model in imported.values():
            model.wait(max(0.0, end - time.monotonic()))
    except KeyboardInterrupt:
        for model in imported.values():
            model.stop()
        raise
    failures = [f"{path}: {reason}" for path, model in imported.items() if (reason := model.failure)]
    if len(failures) == len(kinds):
        raise SourceError("; ".join(failures))
    return [imported.get(path) or FolderSource(path, is_collection=kind == "bundles") for path, kind in kinds.items()]


def bundle_at(path: Path, flags: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Return the folder of the one bundle at a path: itself, its highest version, the only one in it, or an import.

    Raises:
        SourceError: there is none, or more than one.
    """
    found = bundles_at(path, flags, environment, say)
    if len(found) == 1:
        return found[0]
    names = ", ".join(printable(place.relative_to(_named(path)).as_posix(), 40) for place in found[:4])
    raise SourceError(f"{path} holds {len(found)} bundles ({names}{', …' if len(found) > 4 else ''}); name one")


def bundles_at(
    path: Path, flags: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]
) -> list[Path]:
    """Return the folders of the bundles at a path: one, those in a folder of bundles, or an import; highest versions.

    A bundle that cannot be looked at is among those of a folder: whoever reads it is told why.

    Raises:
        SourceError: there is none.
    """
    path = _named(path)
    kind = kind_of(path)
    _check_flags(flags, [path] if kind == "model" else [], [path])
    if kind == "model":
        model = ImportedModel(path, flags, ImportCache(users_cache(environment), say), ImportProcess(say))
        model.begin()
        try:
            model.wait()
        except KeyboardInterrupt:
            model.stop()
            raise
        if model.failure:
            raise SourceError(f"{path}: {model.failure}")
        return [model.bundles[-1]]
    if kind == "bundle":
        return [list(look_at_bundle(path).bundles)[-1]]
    look = look_at(path)
    if not look.bundles:
        for place, reason in look.unreadable.items():
            raise SourceError(f"{place} cannot be read: {reason}")
        raise SourceError(f"{path} is an empty folder: name an .onnx file, the folder of a model, or a bundle")
    by_name = {place.relative_to(path).parts[0]: place for place in (*look.unreadable, *look.bundles)}
    return [by_name[name] for name in sorted(by_name)]


def flags_for(paths: Sequence[Path], flags: Sequence[str]) -> list[Sequence[str]]:
    """Return the flags of an import that are for each path: all where there is a model to import, else none.

    Raises:
        SourceError: it is not clear what `flags` are for.
    """
    kinds = [_kind_if_known(path) for path in paths]
    models = [path for path, kind in zip(paths, kinds, strict=True) if kind == "model"]
    if models or None not in kinds:
        _check_flags(flags, models, paths)
    return [flags if kind == "model" else () for kind in kinds]


def _kind_if_known(path: Path) -> Kind | None:
    """Return what there is at a path; None where that cannot be said, as `bundles_at` then reports."""
    try:
        return kind_of(_named(path))
    except SourceError:
        return None


def _named(path: Path) -> Path:
    """Return a path that ends in a name; "." and ".." are none, and a model may be called by it."""
    return Path(os.path.abspath(path)) if path.name in ("", "..") else path


def _check_flags(flags: Sequence[str], models: Sequence[Path], paths: Sequence[Path]) -> None:
    """Raise SourceError unless it is clear what `flags` are for: one model, or several files.

    Flags would overrule what the folder of a model says itself, so folders are not meant with others.
    """
    files = bool(models) and all(path.is_file() for path in models)
    if not flags or len(models) == 1 or (files and are_for_several(flags)):
        return
    what = ", ".join(str(path) for path in models or paths)
    are = f"are {len(models)} to import" if models else "is nothing to import"
    remedy = "; import each by `contraflow import`" if models else ""
    raise SourceError(f"{names_of(flags)}: flags of one import, but there {are} ({what}){remedy}")
