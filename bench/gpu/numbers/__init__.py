"""The graphs on the card, in numbers and in milliseconds.

truth      a graph in float64, its rectifiers on given sides
agreement  a graph on the card against that
extremes   gradients of any size, and batches of any size
options    the CUDA provider's options, by what they cost
tables     the sections of these rows
"""
