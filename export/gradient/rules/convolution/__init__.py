"""Convolutions, and what they share.

conv             Conv
conv_transpose   ConvTranspose
col2im           Col2Im
windows          where the windows of convolutions and pools lie
taps             which positions meet at each tap of a kernel
unfolding        ways to unfold an activation
shifted_gram     the Gram matrix of an unfolded activation, without unfolding it
"""

from export.gradient.rules.convolution import col2im, conv, conv_transpose

__all__ = ["col2im", "conv", "conv_transpose"]
