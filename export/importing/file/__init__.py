"""The file itself: reading it, refusing what is no standard ONNX graph, and finding its image input.

reading       reads a file, with every weight in memory
other_files   recognises files that are not ONNX
plain         cuts the graph down to what its scores need
ml_operators  operators of ai.onnx.ml written as standard ones
unit_axis     an image input with one more axis of size 1
image         the image input: layout, channels, size, type
"""
