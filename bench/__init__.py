"""What measures the product and writes its pages: a file or a folder for each command `python -m bench.NAME`.

`harness/` is what they share. `reference/` and `guide` measure nothing: they make pages from the code.
"""
