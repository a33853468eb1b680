"""Nodes that no operator rule could read, rewritten during the walk, where shapes and constants are known.

branching    an `If` whose condition is known
fourier      a discrete Fourier transform, as a product
loops        a `Loop` or `Scan` whose number of steps is known
recurrence   RNN, GRU and LSTM, unrolled
placing      reads and writes at constant places, as `Gather`
slicing      a Slice that takes all
transposing  an Einsum that only orders axes
vectors      a product with a vector, as one with a matrix
windows      pools whose last window begins beyond the image
parts        the nodes that take the place of one
"""
