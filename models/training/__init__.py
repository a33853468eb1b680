"""Labelled images, recipes and the training loop.

command          `python -m models train`
data             labelled images, read into memory, and those that are held out
recipe           every number that decides how a network is trained
augmentation     random crops, mirroring and normalisation
plan             what is chosen for an epoch before it begins: order, crops, mirroring, learning rates
optimizer        momentum, and Muon for the filters of convolutions
averaging        a moving average of the weights
step             one step, without a number that the host would have to read or send
cuda_graph       replays a step on a GPU
train            the training loop, which resumes
comparison       `python -m models recipes`
comparison_page  its table in docs/reports/training.md
"""
