"""The service explains itself: the OpenAPI document, and the guide to its verdicts.

document       the OpenAPI document, put together from what the routes declare
introduction   the text at its head
examples       pictures, names and answers that stand in it
guide          the guide to the verdicts, from the table of their texts
guide_page     the same as an HTML page
"""
