"""The endpoints that a browser opens.

page        `/`, `/docs`, `/redoc`, and the files they need
verdicts    `/docs/verdicts`, `/docs/glossary`
guide       `/guide/`: the documentation as a site
"""
