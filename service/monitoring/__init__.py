"""Metrics of the running service, and the gradients of a sample of its live predictions.

metrics            counts and states, for Prometheus
finished_request   what is known of a request when it is over
sampling           runs a share of the live predictions backwards
live               their gradients beside those of the training images
capture/           a share of the predictions, kept with their answers
"""
