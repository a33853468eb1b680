"""`/docs`, `/redoc` and `/guide/` in a browser."""
