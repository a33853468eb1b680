"""Bundles on disk, opened, and kept in step with their folder."""
