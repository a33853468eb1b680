"""What can be known of a graph without running it: constants, shapes, where its samples lie."""
