"""The rules, by kind; `export.gradient` imports them all, which fills the table in `registry`."""
