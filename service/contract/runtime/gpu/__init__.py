"""A graph that runs on a GPU.

driver       what NVIDIA's driver says of the GPUs here
cuda         CUDA's libraries, the options of its provider, and one arena for all sessions on a GPU
placement    how many nodes of a graph run on the GPU, and which do not
host_memory  page-locked buffers, from which the device copies
pixel_graph  pixels to the tensor `input`, on the device
device       values in its memory, and whose turn it is on the device
recorded     runs that are recorded as CUDA graphs, and played again
bound        a session whose inputs and outputs are bound to the device's memory
"""
