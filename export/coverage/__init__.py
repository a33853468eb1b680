"""The proof that third-party classifiers are imported correctly; it writes docs/coverage.md.

__main__          the command
files/            files of other producers, and how one was made
families          architecture families with random weights
exporters         torch's ONNX exporters, with which families are written
other_producers   files that torch did not write
measure           imports a file as a user would, and compares it with torch
matching          which weight of a file is which parameter of a network
interpreted       runs a graph in torch, where there is no torch source
clearest          images on which float32 and float64 take the same branches
served            compares the service's answers over HTTP with torch
report            writes the page
"""
