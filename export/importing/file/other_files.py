"""Recognition of files that are not ONNX models by their first bytes, with advice on what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

EXPORT = (
    "export the network to ONNX first: network = torch.load('{name}', weights_only=False).eval(); "
    "torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), 'model.onnx')"
)
"""Two lines of torch; a file that holds weights only needs a network to load them into before."""
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM")
ARCHIVES = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"7z\xbc\xaf", "7z"), (b"Rar!", "rar"))
BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself; fetch it with `git lfs pull`"),
    (b"\x89HDF\r\n", "an HDF5 file, perhaps of Keras; export it to ONNX with tf2onnx"),
    (b"GGUF", "a GGUF file, which holds no image classifier's graph"),
    (b"ptrt", "a TensorRT engine; import the ONNX file that it was built from"),
    (b"7767517", "an ncnn model; import the ONNX file that it was made from"),
    (b"<?xml", "an XML file, perhaps of OpenVINO; import the ONNX file that it was made from"),
    (b"ir_version:", "an ONNX model written as text; save it in the binary form"),
    (b"\x80", f"a Python pickle, perhaps a PyTorch checkpoint; {EXPORT}"),
)
AT_FOUR = (
    (b"TFL3", "a TensorFlow Lite model; export the original to ONNX with tf2onnx"),
    (b"ORTM", "a model in ONNX Runtime's own format; import the .onnx file that it was made from"),
)


def seems_to_be(path: Path, data: bytes) -> str | None:
    """Describe the file at `path`, which begins with `data`, with advice; None where its kind is not known."""
    start = data.lstrip()[:512].lower()
    if not data:
        return "an empty file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page, perhaps the answer to a failed download"
    for beginning, words in BEGINNINGS:
        if data.startswith(beginning):
            return words.replace("{name}", path.name)
    for beginning, words in AT_FOUR:
        if data[4:8] == beginning:
            return words
    if data.startswith(b"PK\x03\x04"):
        return _zipped(path)
    if data.startswith(PICTURES):
        return "a picture"
    if data[257:262] == b"ustar":
        return "a tar archive; unpack it and import the .onnx file in it"
    for beginning, name in ARCHIVES:
        if data.startswith(beginning):
            return f"a file packed by {name}; unpack it first"
    if data[8:9] == b"{" and data[6:8] == b"\0\0":
        return "a safetensors file, which holds weights and no graph; export the network with torch.onnx.export"
    return "a JSON file" if start.startswith((b"{", b"[")) else None


def _zipped(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return "a damaged zip archive"
    if any(name.endswith("data.pkl") for name in names):
        return f"a PyTorch checkpoint; {EXPORT}".replace("{name}", path.name)
    if any(name.endswith(".weights.h5") for name in names):
        return "a Keras model; export it to ONNX with tf2onnx"
    if any(name.endswith(("arrays.npz", ".npy")) for name in names):
        return "a file of numpy arrays"
    inside = [name for name in names if name.endswith(".onnx")]
    return f"a zip archive; unpack it and import {inside[0] if inside else 'the .onnx file in it'}"
