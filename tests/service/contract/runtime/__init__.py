"""ONNX Runtime's sessions, and the processor they run on."""
