"""Runs on a GPU, tried on the CPU where there is none."""
