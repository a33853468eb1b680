"""The proof that a bundle gives what torch autograd gives."""
