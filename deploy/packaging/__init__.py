"""How the project becomes a package.

backend     setuptools, once the documentation is built
"""
