"""What the process writes: lines for people, log lines, whole files. Imports nothing else of the project."""
