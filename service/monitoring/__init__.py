"""What the service reports about itself while it runs: metrics, and the gradients of a sample of live predictions."""
