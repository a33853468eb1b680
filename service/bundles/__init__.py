"""Bundles: found, read, opened, served, and kept in step with their sources while these change.

folder       which bundles are there; nothing is read
disk         one bundle, read and checked
source       where bundles come from: an interface, and its form for folders
registry     the models that are served at the moment
opening      a session for each graph
warm_up      how fast a graph is, and in batches of which size
following    one look at all sources, and what it changes in the registry
loading      the thread that does all this in the background
reference    the reference statistics of a served bundle
"""
