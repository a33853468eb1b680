"""Torch → ONNX → gradient ONNX → bundle, and the proof that they agree."""
