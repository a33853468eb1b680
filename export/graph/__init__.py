"""What a graph is, how one is written, and what can be wrong with it."""
