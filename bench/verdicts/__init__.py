"""Error rates of the verdicts' rules on networks whose sickness is known: docs/reports/verdicts.md.

corpus        networks made healthy and sick on purpose, by which the thresholds were set
held_out/     networks that took no part in that
truth         what construction alone does not settle, measured by torch in float64
judging       one network judged by the service's own functions, and by Amazon SageMaker Debugger's rules
lists         a network of the corpus or of the kinds held out, judged by its place
shattered     input gradients along a path between two photographs
report        error rates and their tables
"""
