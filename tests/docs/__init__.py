"""The documentation does what it says: its code runs, its links lead somewhere, its pages are short.

site        the documentation, built
pages       the pages and their blocks of code
workplace   the folder in which the code of a page runs, with the files that the pages name
running     the code of a page as one script, and what it wrote
"""
