"""The pages of docs/reference that are made from the code: `python -m bench.reference` writes their sections.

__main__       the command: which section stands on which page
endpoints      the OpenAPI document, endpoint by endpoint
settings       every setting of the service
command_line   the options of every command
metrics        every Prometheus metric
bundle_format  bundle.json, and the inputs and outputs of the graphs
python         the names of `import contraflow`
fields         a JSON schema as a table of fields
types          the type of a value in words
markdown       text that is safe in a table
"""
