"""Runs graphs for requests: decoding, queueing, batching, running, counting."""
