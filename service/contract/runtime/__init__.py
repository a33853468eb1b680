"""Sessions of ONNX Runtime, and which processor they really run on. The only folder that imports onnxruntime.

runs       a run in progress, which may be stopped, and why a run failed
session    one graph that is ready to run, on one thread or, where that pays, on several
widened    the second session of a graph, on several threads, which shares the weights of the first
gpu/       a graph that runs on a GPU
provider   which execution provider is taken, and what is missing for CUDA
opening    the sessions of a process, all on one provider
"""

import os

# ONNX Runtime reports its use over the network unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
