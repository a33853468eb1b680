"""Any ONNX classifier in the plain form that the gradient engine reads."""
