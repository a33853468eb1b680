"""The proof of coverage: architecture families through both of torch's exporters, and back to torch.

`python -m export.coverage` exports each family of `families.py`, imports the file as a stranger's, compares
every layer and sample with torch autograd (`autograd.py`, `measure.py`), asks the service over HTTP
(`served.py`) and writes docs/coverage.md (`report.py`).
"""
