"""Import of ONNX image classifiers that we did not write, without torch."""

from __future__ import annotations

from export.importing.classifier import ImportedModel, import_classifier
from export.importing.flags.errors import OptionMismatch
from export.importing.flags.options import ImportOptions

__all__ = ["ImportOptions", "ImportedModel", "OptionMismatch", "import_classifier"]
