"""Diagnoses of a bundle without a server: the commands `check` and `diagnose`.

model       a bundle's graphs, run in this process, and the images of a folder
check       the command `check`
diagnose    the command `diagnose`
table       its CSV file
report      its HTML report
"""
