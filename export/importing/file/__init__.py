"""What a file says: its graph, read and checked, and its image."""
