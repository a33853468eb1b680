"""The flags by which the owner of a file says what it leaves open, and the errors about them.

options    what an import may be told
arguments  the flags of the command line
presets    the values of `--preprocessing`
labels     reads a file of labels
pixels     mean, std and scale
geometry   resize and crop
errors     errors about the flags
"""
