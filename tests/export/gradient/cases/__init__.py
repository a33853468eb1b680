"""The table of cases, by kind of operator."""
