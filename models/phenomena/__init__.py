"""The phenomena that made residual networks, measured: one file per figure, numbers as data."""
