"""The ten promises of the service, measured against the real thing: docs/reports/promises.md.

One file for each promise, with a function `measure(scale)` that yields its figures; `scale` is the share of the
whole measurement that is made, 1 for figures to publish.
"""
