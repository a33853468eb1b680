"""JSON schemas of the answers of `/diagnostics/…`.

base         fields that all answers have in common
gradients    gradients and comparison
verdict      the verdict within them
shattering   shattering
scores       scores
features     features
explanation  explanation

A list "one per sample" is in the order of the images sent.
"""
