"""The proof that a bundle computes what torch autograd computes."""
