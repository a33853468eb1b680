"""`make bench-promises`: measures the ten promises of the service against the real thing → docs/promises.md."""
