"""A request as a call of an endpoint: everything that is the same whichever endpoint answers it."""
