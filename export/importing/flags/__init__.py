"""The flags by which the owner of a file says what it leaves open, and the errors about them.

options   the flags
labels    reads a file of labels
pixels    mean, std and scale
errors    errors about the flags
"""
