"""Functions that emit the outputs of `service.contract.outputs`, one for each.

table         which function emits which output
forward       outputs that need no backward pass
norms         norms and the input gradient
explanation   what a class's logit owes to a layer's map, or to the image
slopes        slopes along a change of the network
"""
