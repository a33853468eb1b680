"""The tracing engine: it finds constants, shapes and the place of the samples without running a graph.

folding      what others call: a model becomes a `Graph` with constants folded
freeing      the same for a model that was exported for a fixed batch
walk         one walk over the nodes, at two numbers of samples
rewriting/   nodes that are rewritten on the way
trace        types and values at one number of samples
evaluation   evaluates a single node
samples      where the samples lie in a tensor
"""
