"""The rules, by kind of operator; `export.gradient` imports them all, which fills the table in `registry`.

registry       the table of rules, and how to add one
refusals       operators without a rule, with the reason
factors        a weight's gradient as a product of two factors
loss           cross-entropy of each sample
pointwise/     operators on one entry of each operand
movement/      operators that move, repeat or leave out entries
reduction/     operators that reduce axes of one sample
products/      matrix products and Einsum
convolution/   convolutions
"""
