"""A client's connection: reading requests, their order, writing answers."""
