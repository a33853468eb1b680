"""Sections 4, 5, 7 and 8 of docs/reports/phenomena.md: the phenomena, measured on the shipped bundles.

command            `python -m export phenomena`
options            its options
shipped            reads bundles, networks and photographs
image_shattering   section 7
features           section 8
"""
