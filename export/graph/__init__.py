"""Graphs of ONNX nodes: how they are represented, written and named, and the errors about them."""
