"""Bundles that are made for a measurement."""
