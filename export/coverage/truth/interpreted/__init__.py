"""An imported graph run by torch's functions, one for each node, so that autograd gives the truth without a source.

network     the module that runs a graph
attributes  the form of every function here
windows     convolutions, pools and resizing
shapes      operators that move numbers about
values      operators that compute with them
recurrent   the LSTM
"""
