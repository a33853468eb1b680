"""Answers: their bytes and headers, the choice of their form, and their OpenAPI description."""
