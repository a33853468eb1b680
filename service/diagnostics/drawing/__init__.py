"""SVG plots of the answers of `/diagnostics/…`.

Each plot can be read alone: the title states the finding, the subtitle says what is drawn, the axes carry units. Both
light and dark colours are in the one file; residual networks are blue and plain ones vermilion (Okabe and Ito's
palette). A value that is not finite, or is 0 on a logarithmic axis, leaves a gap in its curve.
"""
