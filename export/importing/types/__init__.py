"""The types of number that a file computes in, and the float32 network that it is taken for.

taken           a file taken for a float32 network, with all that the others find
floating        float16, bfloat16 and float64 → float32
sizes           arithmetic with sizes, which keeps its float64
differences     how far the file's own answers are from those of the float32 network
translation     a graph of 8-bit integers → the float network that it stands for
rules           rules of the translation: rounding, and what integers pass through
linear_rules    rules of operators from integers to integers
integer_rules   rules of products of integers, and of weights in blocks
integers        what integers stand for
bounds          the range of a tensor's numbers
ending          what a file does to its answer at its end
own_graph       the file's own graph with our ends
"""
