"""The endpoints of explanations.

explain     `POST /diagnostics/explain`
v1          `POST /v1/models/{name}:explain`, KServe's older protocol
tensors     named outputs of the Open Inference Protocol
options     their options
explaining  from images to the answer, for both
"""
