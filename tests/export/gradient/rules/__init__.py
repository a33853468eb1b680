"""Every rule against central differences and torch, and what they are compared with."""
