"""The flags by which the owner of a file says what it leaves open, and the errors about them."""
