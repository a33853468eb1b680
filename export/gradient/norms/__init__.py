"""Squared norms per sample of each layer's gradients, in the cheapest way.

layers    which weights are layers, and what follows them
planner   decides by cost how each quantity is computed
costs     costs in multiply-adds, from static sizes
ways      emits the squared norms of dW from its two factors
scales    emits the gradient of a scale γ that was folded into its layer
joining   joins the factors of sums of gradients
columns   sums for all layers at once, one column each
"""
