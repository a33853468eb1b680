"""The endpoints, one file per group of addresses. Each has a `router`, which `service.app` lists.

predict             `POST /predict`
diagnostics         `POST /diagnostics/…`
models              `GET /models…`
health              `GET /health/…`
metrics             `GET /metrics`
open_inference      `/v2/…`
repository          `/v2/repository/…`
pages/              what a browser opens: the page, the documentation of the interface, the guide
submissions         reads a call's model, images and options
top_labels          the most probable labels, for the log
runs                runs of graphs for a diagnosis, how many there is time for, and which network they are of
explanations/       `POST /diagnostics/explain`, and KServe's `:explain`
diagnosis_options   options of `/diagnostics/…`
"""
