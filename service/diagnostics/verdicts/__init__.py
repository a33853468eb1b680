"""Rules that decide from a model's norms whether its gradients are healthy.

verdict    our rules, with thresholds and reasons
evidence   the numbers that the rules look at
debugger   the rules of Amazon SageMaker Debugger, for comparison
"""
