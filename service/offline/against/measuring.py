"""The rows of the table: every image through both versions, and written as it is measured."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from service.offline.against.table import COLUMNS, row_of, rows_written
from service.offline.against.versions import Pictures, Version
from service.offline.diagnose import listed, places
from service.offline.measuring import Progress
from service.offline.model import CHUNK, LabelledFile, labelled_files
from service.offline.table import append
from service.output.console import remark
from service.output.printable import printable


def files_to_compare(folder: Path, old: Version, new: Version, unlabelled: bool) -> list[LabelledFile]:
    """Return every image of the folder, with the name of its folder where that is a label of either version.

    Raises:
        ValueError: there are no images, or none of them has a label although the folder is not `unlabelled`.
        OSError: the folder cannot be listed.
    """
    if not folder.is_dir():
        raise ValueError(f"--data {folder}: no such folder")
    labels = () if unlabelled else (*old.labels, *(label for label in new.labels if label not in old.known))
    files = labelled_files(folder, labels)
    if not files:
        raise ValueError(f"--data {folder}: there is no image in it")
    without = [file for file in files if file.label is None]
    if without and not unlabelled:
        names = list(dict.fromkeys(PurePosixPath(file.path).parent.name for file in without))
        if len(without) == len(files):
            raise ValueError(
                f"--data {printable(str(folder))}: no image has a label of either version. The images lie in "
                f"{places(names)}; the labels are {listed(labels)}. Name each folder exactly like the label of its "
                "images, or say --unlabelled: then disagreements are counted, and no flips"
            )
        remark(f"{len(without):,} of {len(files):,} images have no label of either version: in {places(names)}")
    return files


def measure_files(old: Version, new: Version, folder: Path, files: list[LabelledFile], table: Path) -> None:
    """Append a row for every file that the table does not have yet.

    Raises:
        ValueError: the table is of other versions or another folder.
        OSError: the table cannot be written; the rows that it has stay, and the next run continues after them.
    """
    done = rows_written(table, old, new, files)
    if not (table.exists() and table.stat().st_size):
        append(table, list(COLUMNS), [])
    progress = Progress(len(files), done)
    for start in range(done, len(files), CHUNK):
        pictures = Pictures(folder, files[start : start + CHUNK])
        answers = zip(pictures.files, old.answers(pictures), new.answers(pictures), strict=True)
        append(table, list(COLUMNS), [row_of(file, (old, before), (new, now)) for file, before, now in answers])
        progress.show(start + len(pictures.files))
