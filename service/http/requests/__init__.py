"""Reads what a client sends: the rules for its head, the body, and the images and options in it."""
