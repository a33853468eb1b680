"""Gradient graphs in other runtimes than the one that serves them: OpenVINO and onnx's reference evaluator."""
