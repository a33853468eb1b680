"""Statistics of a bundle on labelled images.

record         `python -m export record`: measures them, and writes them into the bundle
evaluate       `python -m export evaluate`: the error rate
baseline       gradient norms on training images
separability   how well each layer separates the classes
"""
