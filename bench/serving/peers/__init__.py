"""One file per peer server, each as its own documentation advises; `python -m bench.serving` starts them."""
