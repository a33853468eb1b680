"""Which constants of a file were trained, under which names, and what its exporter did to them."""
