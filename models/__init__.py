"""The classifiers that Contraflow ships: their networks, their training, and the phenomena they show. Needs torch."""
