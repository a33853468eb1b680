"""One interface in Python to a model in this process and to a running service; what `import contraflow` offers.

loading    from a path or an address to a model
model      the interface: `predict`, `gradients`, `check`, `explain`
local      a bundle whose graphs run in this process
remote     a model of a running service
images     what counts as images
results    measured gradients, also as a table
explain    the verb `explain`: one photograph, in words or as a picture
errors     what goes wrong, in words
replay/    the verb `replay`: captured requests sent to another service
"""
