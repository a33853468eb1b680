"""What `export` and the service share: what a bundle is, how its graphs are run, what their outputs mean."""
