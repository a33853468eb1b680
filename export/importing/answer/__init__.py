"""From a file's scores to logits: choosing the tensor, judging what it means, and holding the bundle to it.

outputs           chooses the output that holds the scores
scores            refuses what holds none
probes            images on which the file is tried
judgement         logits, or probabilities of some form
independent       probabilities or logits of independent labels
log_odds          ln(p / (1 − p)) from probabilities that are sigmoids
single            the same of a file's one score
meaning           what a judgement says
logarithms        logits from probabilities
logarithm_rules   ln y, for each operator that makes y
appended          nodes added behind the file's graph
agreement         compares with the file's own answer
"""
