"""Squared norms per sample of weight gradients, in the cheapest way."""
