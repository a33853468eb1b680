"""An imported graph run by torch's functions, one for each node, so that autograd gives the truth without a source.

network     the module that runs a graph
attributes  what every function here is given
windows     convolutions, pools and resizing
shapes      what moves numbers about
values      what computes with them
recurrent   the LSTM
"""
