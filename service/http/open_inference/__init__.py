"""The Open Inference Protocol v2 over REST, with the binary tensor extension.

`tensors` knows the data types and how a tensor is written, `requests` takes an infer request apart,
`answers` puts one together, `catalogue` says which tensors a bundle takes and gives.

Specification: kserve/open-inference-protocol, `specification/protocol/inference_rest.md`; extensions:
triton-inference-server/server, `docs/protocol/extension_binary_data.md`, `…_classification.md`.
"""
