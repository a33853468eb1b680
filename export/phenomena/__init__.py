"""The phenomena on the shipped bundles, run through ONNX Runtime, and their sections of the page."""
