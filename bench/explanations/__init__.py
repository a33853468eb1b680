"""The measurement of docs/reports/explanations.md: how well each method finds what a network goes by.

network   a bundle and the photographs that it is asked about
rise      RISE's maps, from thousands of forward runs
methods   the maps that are compared with them
curves    deletion and insertion, by which maps are judged
"""
