"""The commands that measure the product and write its pages, each in a file or a folder of its own.

`harness/` is what they share. `reference/` and `guide` measure nothing: they make pages from the code.
"""
