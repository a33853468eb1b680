"""Request bodies and heads, read and taken apart."""
