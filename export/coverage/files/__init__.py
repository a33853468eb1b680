"""The files that are measured.

exporters   torch's two exporters
exported    the cache of files that they wrote of the listed architectures
producers   files that torch did not write: of packages, and one of this folder
equal       weights that are all one number, drawn anew
"""
