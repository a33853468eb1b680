"""Passes that bring any ONNX classifier into the plain form that the gradient engine reads.

That form has one opset, no local functions, no training mode, names that clash with none of the engine's, one
input `input` and one output `logits` [N, classes].

cleaning    the first passes over any model, in their order
opset       converts to the engine's opset
inference   leaves training mode
decompose   rewrites operators as others
fusions     writes out what ONNX Runtime's optimizer fused
attention   writes out the fused attention
written     a node written out as others
stored      moves constants out of branches and loops
order       sorts nodes that a writer left unsorted
ends        gives the model its standard input and output
precision   the same model in double precision
"""
