"""The proof that third-party classifiers are imported correctly; it writes docs/coverage.md.

`python -m export.coverage` exports each family of `families.py` by torch's exporters (`exporters.py`), and takes
the files of `other_producers.py` as they are. It imports each file as a user would, compares every layer and sample
with torch autograd (`measure.py`), asks the service over HTTP (`served.py`) and writes the page (`report.py`).
"""
