"""Definitions, data and training of the classifiers that Contraflow ships (needs torch)."""
