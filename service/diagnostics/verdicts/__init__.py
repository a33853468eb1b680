"""Rules that decide from a model's norms whether its gradients are healthy."""
