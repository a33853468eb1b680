"""Squared norms per sample of each layer's gradients, in the cheapest way.

The rules give the two factors of a weight gradient; `planner` decides by `costs` what is computed from them, `ways`
and `scales` emit that, and `columns` sums it for all layers at once. `layers` says which weights are layers.
"""
