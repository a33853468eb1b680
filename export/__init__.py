"""From a network to a bundle: a forward ONNX graph, gradient ONNX graphs, and the proof that they agree with torch."""
