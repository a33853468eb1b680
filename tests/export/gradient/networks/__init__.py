"""Whole networks, wherever their samples lie."""
