"""Shattered gradients (Balduzzi et al. 2017) of a model, along the straight path between two images.

At P points x(t) = (1 − t)·a + t·b of the path, g(t) is the gradient of the loss for one label with respect to the
input. In a smooth network g changes slowly along the path; in a shattered one it resembles white noise.

path       the inputs along the path
points     how many of them, by the time there is
measures   from their gradients to correlation, autocorrelation and spectral exponent
verdict    shattered, rough or smooth, by bounds that depend on the number of points
"""
