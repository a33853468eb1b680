"""Networks that took no part in setting the thresholds.

packages      trained classifiers that packages bring, each read by the product's own importer
torch_files   the networks of those that come as torch weights
"""
