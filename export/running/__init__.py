"""Run a graph: in float32 by ONNX Runtime, in float64 by onnx's reference evaluator with its faults mended."""
