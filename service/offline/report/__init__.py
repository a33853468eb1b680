"""The HTML report of `python -m service diagnose`: one file without scripts, which any browser opens and prints.

page        the page: its sections in order
summary     what comes first: accuracy, verdict, images, and what was measured
classes     the confusion matrix, the classes, and the pairs that are taken for each other
judgement   the verdict with its advice, and the layers
galleries   pictures of suspected labels, of the hardest images, and of those least like the training images
terms       what the words mean
tally       the table, read once in bounded memory
sampling    the norms of as many rows as memory may hold
markup      elements of HTML, tables and numbers in words
"""
