"""The tracing engine: it finds constants, shapes and the place of the samples without running a graph."""
