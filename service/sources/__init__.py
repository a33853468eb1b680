"""The kinds of PATH on a command line, and where its bundles come from: folders as they are, models by an import.

An import runs in a process of its own (`python -m export onnx`); nothing here imports onnx or `export`.

arriving     a model that comes while the service starts
kinds        what there is at a path: bundles, a bundle, or something to import
flags        the flags of an import, told from the service's own
opening      the sources of all paths; the one bundle at a path
imported     a model that is imported, watched, and imported again
importing    the process that imports
inputs       the files that an import reads: their state and their content
cache        imported bundles, kept by their content
"""
