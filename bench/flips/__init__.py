"""The measurement of docs/reports/versions.md: how well `check --against` tells regressions from re-exports.

altered     copies of a shipped network with noise on its weights, as much as makes so many flips
draws       how often a limit is broken in draws of images
reexports   networks beside themselves, written otherwise
"""
