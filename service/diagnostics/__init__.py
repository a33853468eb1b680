"""From the outputs of graphs to the answers of `/diagnostics/…`. Plain numpy: nothing here knows HTTP or the engine.

answer        what `/diagnostics/gradients` says of images, and `contraflow` in Python
measurement   which graphs a diagnosis runs
gradients     norms and verdict by layer
losses        the loss of each image, and how it is classified
quantized     of an int8 model: which network answers, and where the other one answers otherwise
baseline      those norms beside the quantiles of the training images
noise         gradient noise scale
compare       the same images through several models
scores        how foreign an image is, and how hard or mislabelled
features      what each layer sees in an image
pictures      PNGs of arrays
words         numbers and names in sentences
explanation/  where the evidence for a label lies in a picture
shattering/   gradients along the path between two images
verdicts/     rules that decide whether gradients are healthy, and what to say of it
schemas/      the answers as JSON
drawing/      the answers as SVG
"""
