"""From a network to a bundle: a forward ONNX graph, gradient ONNX graphs, and the proof that they agree with torch.

__main__        the command line
bundle_table    the guide's table of bundles
trained/        bundles of training runs
importing/      bundles of anyone's ONNX files
coverage/       the proof that such files are imported correctly
phenomena/      phenomena measured on the shipped bundles
verification/   the proof that a bundle computes what torch computes
gradient/       the gradient engine
standard/       brings a classifier into the form that the engine reads
statistics/     what a bundle remembers of its images
tracing/        constants and shapes, without running a graph
running/        runs a graph in float32 or float64
writing/        writes a bundle
graph/          graphs of ONNX nodes
"""

import os

# ONNX Runtime reports its use over the network unless this is set when it is imported (service.contract.runtime, too).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
