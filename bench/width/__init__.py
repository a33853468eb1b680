"""Measures what a lone run gains by every core, and what that costs."""
