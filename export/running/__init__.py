"""A bundle's graphs as functions, as they are served and in double precision."""
