"""The endpoints of explanations.

explain     `POST /diagnostics/explain`
v1          `POST /v1/models/{name}:explain`, KServe's older protocol
options     their options
explaining  from images to the answer, for both
"""
