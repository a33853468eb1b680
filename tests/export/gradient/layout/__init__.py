"""The passes that lay the graph out for ONNX Runtime."""
