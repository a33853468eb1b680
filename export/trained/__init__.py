"""Bundles of the networks trained in `models`.

export_run   `python -m export bundle`: a training run becomes a verified bundle
forward      reads a run, and exports its network
rewrite      `python -m export rewrite`: derives the gradient graphs again
"""
