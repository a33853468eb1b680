"""The proof that a bundle computes what torch autograd computes.

verify     compares every output of a bundle's graphs
autograd   gradients by torch, one sample at a time
parity     differences, and their bounds
recheck    `python -m export verify`: a bundle as it lies on disk
"""
