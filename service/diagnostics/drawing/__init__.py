"""SVG plots of the answers of `/diagnostics/…`.

Each plot can be read alone: the title states the finding, the subtitle says what is drawn, the axes carry units. Both
light and dark colours are in the one file; residual networks are blue and plain ones vermilion (Okabe and Ito's
palette). A value that is not finite, or is 0 on a logarithmic axis, leaves a gap in its curve.

plots          from an answer to its plot
layers         gradients by layer, of one model or several
scores         one strip per score, with a dot for each image
shattering     how the input gradient changes along the path
features       what the layers see in an image
explanation    pictures with the map of an explanation laid over them
colours        colours of numbers
svg            scales, axes and marks
json_answers   values and words of an answer in its JSON form
"""
