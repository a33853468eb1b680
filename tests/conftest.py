"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A test that is slow because the machine is busy is not wrong.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
