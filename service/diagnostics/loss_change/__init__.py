"""Which layers changed the loss, from one version of a network to another of the same architecture.

result     what is said of it, layer by layer, or why it does not apply
changed    the change of loss, divided among the layers
"""
