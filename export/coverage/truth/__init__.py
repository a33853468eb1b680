"""The truth about a file, by torch in float64, and its comparison with a bundle's graphs.

clearest      images on which float32 and float64 take the same branches
matching      which weight of a file is which parameter of a network
formula       BatchNorm by its formula, where torch's own backward pass is wrong
precision     of constants that a network makes while it runs
compare       differences by quantity
differences   central differences of the loss
interpreted/  runs a graph in torch, where there is no torch source
"""
