"""From graphs to a bundle on disk."""
