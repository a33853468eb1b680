"""Labelled images, recipes and the training loop."""
