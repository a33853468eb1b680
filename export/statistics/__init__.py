"""Statistics of a bundle on labelled images: error rate, gradient baseline, separability of the classes by layer."""
