"""Sessions of ONNX Runtime, and which processor they really run on. The only folder that imports onnxruntime.

provider   which execution provider is taken, and what is missing for CUDA
driver     what NVIDIA's driver says of the GPUs here
cuda       CUDA's libraries, the options of its provider, and one arena for all sessions on a GPU
placement  how many nodes of a graph run on the GPU, and which do not
runs       a run in progress, which may be stopped, and why a run failed
session    one graph that is ready to run
opening    the sessions of a process, all on one provider

On a GPU:
bound        a session whose inputs and outputs are bound to the device's memory
device       values in that memory, and whose turn it is on the device
host_memory  page-locked buffers, from which the device copies
recorded     runs that are recorded as CUDA graphs, and played again
pixel_graph  pixels to the tensor `input`, on the device
"""

import os

# ONNX Runtime reports its use over the network unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
