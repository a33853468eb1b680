"""What changed from one version of a model to the next: counted, with the uncertainty of every number.

intervals     the interval of a share that was counted, and of the difference of two shares on the same images
flips         images that were right before and are wrong now, and the other way round
mcnemar       whether the two versions are wrong equally often
calibration   whether probabilities can be believed, before and now
"""
