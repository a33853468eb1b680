"""The constants of a file: which were trained, how they are called, and what an exporter did to them.

naming          tells weights from other constants, and names them
normalization   BatchNormalization that was folded into convolutions
"""
