"""Which layers changed the loss, from one version of a network to another of the same architecture.

result        what is said of it, layer by layer, or why it does not apply
architecture  whether the two are of one architecture, and where they differ if not
weights       the weights of both, and between them
changed       the change of loss, divided among the layers
"""
