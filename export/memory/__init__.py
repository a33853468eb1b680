"""What a bundle remembers of labelled images: its errors, its norms, its separability."""
