"""Error rates of the verdicts' rules on networks whose sickness is known: docs/verdicts.md.

corpus        networks made healthy and sick on purpose
judging       one network judged by the service's own functions, and by Amazon SageMaker Debugger's rules
shattered     input gradients along a path between two photographs
report        error rates and their tables
"""
