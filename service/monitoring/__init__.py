"""What the service reports about itself while it runs.

metrics    counts and states, for Prometheus
sampling   runs a share of the live predictions backwards
live       their gradients beside those of the training images
"""
