"""Archives of small files, which pretend to be what frameworks write."""

from __future__ import annotations

import io
import zipfile


def zipped(*names: str) -> bytes:
    """Return a zip archive of files with these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()
