"""What is watched while the service runs: metrics, and a sample of the live predictions."""
