"""What is the same for every request, whichever endpoint answers it."""
