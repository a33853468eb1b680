"""What `check --against` finds and misses: regressions in draws of images, and re-exports in which nothing changed.

altered     copies of a shipped network with noise on its weights, as much as makes so many flips
draws       how often a limit is broken in draws of images
reexports   networks beside themselves, written otherwise
"""
