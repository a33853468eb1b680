"""What the owner of a file says on the command line, and what can be wrong with it."""
