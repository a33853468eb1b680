"""HTTP: from the socket to the endpoints, and back."""
