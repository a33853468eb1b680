"""What `export` and the service share: what a bundle is, how a graph is run, what its norms mean."""
