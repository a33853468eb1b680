"""The inference service: HTTP, batching, ONNX Runtime, diagnostics. Imports neither torch nor `models` nor `export`."""

__version__ = "0.1.0"
