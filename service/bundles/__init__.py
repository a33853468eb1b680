"""Bundles of a folder: found, read, opened, served, and kept in step with the folder while it changes.

folder       which bundles are there; nothing is read
disk         one bundle, read and checked
registry     the models that are served at the moment
opening      a session for each graph
warm_up      how fast a graph is, and in batches of which size
following    one look at the folder, and what it changes in the registry
loading      the thread that does all this in the background
reference    the reference statistics of a served bundle
"""
