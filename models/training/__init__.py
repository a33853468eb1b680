"""Labelled images, recipes and the training loop.

command        `python -m models train`
data           labelled images, read into memory
augmentation   random crops and flips, and normalisation
recipe         every number that decides how a network is trained
train          the training loop, which resumes
"""
