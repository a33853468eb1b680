"""The phenomena for which residual networks were invented, measured and drawn.

command           `python -m models phenomena`
vanishing         section 1
exploding         section 2
normalization     section 3
degradation       section 4
deeper            records of networks too large to ship, for it
seeds             its repetition over several seeds
identity          section 5
shattering        section 6
shattering_laws   its theorems, beside measurements
section           a figure, its explanation and its statements
style             the look of the figures

A section's file has `measure` (numbers as data), `statements` (what is claimed, with bounds), `draw` and `section`.
"""
