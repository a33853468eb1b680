"""Sections 4, 5, 7 and 8 of docs/phenomena.md: the phenomena, measured on the shipped bundles."""
