"""Network definitions: the residual and plain networks that are shipped, and the small nets of docs/phenomena.md."""
