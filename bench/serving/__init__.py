"""`python -m bench.serving`: our service, the in-process bound and five peers, on the same cores in one run."""
