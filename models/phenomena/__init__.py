"""The phenomena for which residual networks were invented, measured and drawn, one section of the page per file.

A section's file has `measure` (numbers as data), `statements` (what is claimed, with bounds), `draw` and `section`.
"""
