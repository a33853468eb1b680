"""All settings of the service. Imports `images` for its limits.

values    types of values: how a variable's text is split, and what is refused
fields    every setting: name, default, limits, meaning
reading   settings from variables and flags
"""
