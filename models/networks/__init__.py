"""Network definitions: the residual and plain networks that are shipped, and small nets for docs/reports/phenomena.md.

network           CIFAR networks of 6n+2 layers, and the catalogue
blocks            their two building blocks
identity_layers   makes a network deeper by layers that change nothing
untrained         networks before training, ready to be diagnosed
chains            chains of fully connected layers
scalar_nets       networks from R to R
"""
