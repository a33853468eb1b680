"""The files that are measured.

exporters   torch's two exporters
exported    the cache of files that they wrote of the listed architectures
producers   files that torch did not write: of packages, and one of this folder
make_keras_small  how the Keras network of this folder was made
equal       weights that are all one number, drawn anew
"""
