"""Networks and bundles that are made for a measurement."""
