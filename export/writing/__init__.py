"""Writes a bundle to disk, after its graphs have been run as the service will run them.

bundle   writes a bundle, and reads one back
placing  the folder of a bundle, and what is there already
trial    runs every graph before it is written
structure  what two versions of one architecture have in common
weights  the file of weights, which all graphs of a bundle share
"""
