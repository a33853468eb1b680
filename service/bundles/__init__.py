"""Bundles: found, read, opened, served, and kept in step with their sources while these change.

folder        which bundles are there; nothing is read
disk          one bundle, read and checked
source        where bundles come from: an interface, and its form for folders
served_model  a model that is served: the state, the session and the speed of each graph
registry      the models that are served at the moment, and which of them a request means
opening       a session for each graph
warm_up       how fast a graph is, and in batches of which size
known         what is served from each place, and why nothing or an earlier state of it is
following     one look at all sources, and what it changes in the registry
repository    models that are loaded and unloaded by name
index         the models that are served, and those that are not, each with its state
loading       the thread that does all this in the background
reference     the reference statistics of a served bundle
"""
