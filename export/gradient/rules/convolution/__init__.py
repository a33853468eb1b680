"""Convolutions, and what they share: windows, taps, and ways to unfold an activation."""

from export.gradient.rules.convolution import col2im, conv, conv_transpose

__all__ = ["col2im", "conv", "conv_transpose"]
