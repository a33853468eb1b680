"""Answers: their bytes and headers, the choice of their form, and their OpenAPI description.

responses       writes JSON, and errors in the shape that their address promises
negotiation     chooses the form by `Accept` and `Accept-Encoding`
header_fields   parses lists, parameters and weights in header fields
schemas         schemas of answers
openapi         bodies, parameters and errors that endpoints declare
"""
