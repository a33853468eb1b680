"""A bundle judged without a server: `check` and `diagnose`."""
