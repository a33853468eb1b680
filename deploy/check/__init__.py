"""Checks of the image, the compose file and the manifests: `python -m deploy.check lint | supply | report`."""
