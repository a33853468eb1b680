"""Diagnostics as SVG."""
