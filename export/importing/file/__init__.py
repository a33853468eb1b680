"""The file itself: reading it, refusing what is no float32 ONNX graph, and finding its image input."""
