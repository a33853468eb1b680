"""From a file's scores to logits: choosing the tensor, judging what it means, and holding the bundle to it.

scores            chooses the tensor of scores
probes            images on which the file is tried
judgement         logits, or probabilities of some form
logarithms        logits from probabilities
logarithm_rules   ln y, for each operator that makes y
appended          nodes added behind the file's graph
agreement         compares with the file's own answer
"""
