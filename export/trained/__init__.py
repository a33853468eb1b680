"""Bundles of the networks trained in `models`: exported from a training run, and rewritten after the engine changed."""
