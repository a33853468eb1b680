"""A new version of a model checked against an old one: `check NEW --against OLD`.

command         its flags, and the run from them to the exit status
versions        a version: what it answers, and its gradients
served          a version that a service serves
measuring       every image of a folder through both versions
table           the CSV file of that
tally           the table, read once
gradients       verdicts before and now, and the layers that moved
loss_by_layer   which layers changed the loss
speed           which version is faster
limits          what a new version must keep
comparing       all of it, put together
outcome         what is found
formats/        it as text, JSON, JUnit, Markdown and HTML
"""
