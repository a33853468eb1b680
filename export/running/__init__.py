"""Runs a graph: in float32 by ONNX Runtime, in float64 by onnx's reference evaluator.

runs        a graph as a function of its inputs
reference   onnx's reference evaluator, with its faults mended
sampling    GridSample and AffineGrid for it
"""
