"""The constants of a file: which were trained, how they are called, and what an exporter did to them."""
