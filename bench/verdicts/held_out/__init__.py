"""Networks that took no part in setting the thresholds.

packages       trained classifiers that packages bring, each read by the product's own importer
torch_files    the networks of those that come as torch weights
trainings      short trainings of the product's own networks, judged on the way
unseen         sick and healthy kinds that the corpus does not have
architectures  the networks of those kinds
"""
