"""From the outputs of graphs to the answers of `/diagnostics/…`. Plain numpy: nothing here knows HTTP or the engine.

measurement    which graphs a diagnosis runs
gradients      norms and verdict by layer, with the help of `baseline` and `noise`
compare        the same images through several models
scores, shattering, features    the other diagnoses; `pictures` makes PNGs of arrays
verdicts/      the rules that decide whether gradients are healthy
schemas/       the answers as JSON
drawing/       the answers as SVG
"""
