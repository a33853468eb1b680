"""The contract between `export` and the service: what a bundle is, how its graphs are run, what their outputs mean.

bundle_schema       `bundle.json`: the description of a bundle
outputs             the table of what graphs give
runtime             sessions of ONNX Runtime, and the processor they run on
loss                the loss of exclusive classes, and its gradient at the logits
binary_loss         the same of independent labels
label_kinds         the two kinds of labels, each with its loss
norms               from a graph's squared norms to norms that neither underflow nor overflow
dead_channels       channels that are zero on every image
reference           `reference.npz`: statistics of the training images
model_names         the name of a model, from the path of its file
execution_provider  which processor is asked for: auto, cpu, cuda, or cuda:N
arrays              names for array types in signatures
errors              the shape of every error that a client is told about
"""
