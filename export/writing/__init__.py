"""Writes a bundle to disk, after its graphs have been run as the service will run them.

bundle   writes a bundle, and reads one back
trial    runs every graph before it is written
"""
