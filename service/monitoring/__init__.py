"""Metrics of the running service, and the gradients of a sample of its live predictions.

metrics            counts and states, for Prometheus
finished_request   what is known of a request when it is over
recorders          the three that record requests, started and stopped together
request_log        one log line for every request: levels, and how many of refused ones
request_line       that line, as text and as JSON
sampling           runs a share of the live predictions backwards
telemetry/         spans and metrics, sent by OpenTelemetry
live               their gradients beside those of the training images
shadow/            a second version, run on a share of the live images
capture/           a share of the predictions, kept with their answers
"""
