"""The Open Inference Protocol v2 over REST, with the binary tensor extension.

requests       takes an infer request apart
answers        puts an infer answer together
tensors        the data types, and tensors in JSON and in binary
json_numbers   long lists of numbers in JSON, read piece by piece
catalogue      the tensors that a bundle takes and gives
schemas        the bodies, for the OpenAPI document

Specification: kserve/open-inference-protocol, `specification/protocol/inference_rest.md`; extensions:
triton-inference-server/server, `docs/protocol/extension_binary_data.md`, `…_classification.md`.
"""
