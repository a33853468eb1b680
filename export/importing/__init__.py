"""Import of ONNX image classifiers that we did not write, without torch.

command      `python -m export onnx`
classifier   from a file and its flags to a model in plain form
provenance   what was settled, in words, and where it came from
resolving    flags, folder and file → the options of an import
folders/     what the files around a model and its metadata say
flags/       what the owner of a file says about it
file/        reading the file, and finding its image input
weights/     which constants were trained, and what an exporter did to them
types/       the types of number a file computes in, and the float32 network that it is taken for
answer/      what the file's scores mean
"""

from __future__ import annotations

from export.importing.classifier import ImportedModel, import_classifier
from export.importing.flags.errors import OptionMismatch
from export.importing.flags.options import ImportOptions

__all__ = ["ImportOptions", "ImportedModel", "OptionMismatch", "import_classifier"]
