"""How often the layer that was altered is found to have changed the loss most → docs/reports/changed-layers.md.

versions   a shipped network, from which versions with other weights are made
altering   what is done to one layer, and to all others
judging    where two ways of ranking layers put the altered one
"""
