"""The public face of Contraflow: the command `contraflow`, and what Python programs import. No logic of its own.

__main__   the command line: each verb is passed on to the package that does it
"""

from service import __version__

__all__ = ["__version__"]
