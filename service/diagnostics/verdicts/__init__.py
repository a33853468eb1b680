"""From norms to a verdict, with the evidence for it."""
