"""The ways to the norms of a layer."""
