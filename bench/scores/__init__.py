"""The worth of each score: docs/reports/scores.md.

images    pictures that are none of the classes
foreign   foreign images told from known ones
labels    flipped labels found again
"""
