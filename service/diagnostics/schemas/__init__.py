"""JSON schemas of the answers of `/diagnostics/…`, one file per endpoint.

A list "one per sample" is in the order of the images sent.
"""
