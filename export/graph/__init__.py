"""Graphs of ONNX nodes: how they are represented, written and named, and the errors about them.

graph       a graph as operator rules see it
emitter     adds nodes behind a graph
names       keeps a file's names and the engine's apart
attributes  attributes of a proto's node
branches    graphs inside nodes, as the branches of an `If`
edits       edits of a model's proto that leave its function unchanged
parameters  trained tensors that other numbers may be put in place of
lower       the oldest opset at which a graph means the same
errors      errors about a graph
"""
