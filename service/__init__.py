"""The inference service: HTTP, batching, ONNX Runtime, diagnostics. Imports neither torch nor `models` nor `export`.

__main__       the command line: serve, `check`, `diagnose`
app            puts the service together
client/        one interface in Python to a bundle in this process and to a running service
settings       every setting: name, default, limits, meaning
errors         every error of a request, with its status
http/          from the socket to the endpoints, and back
monitoring/    metrics, and the gradients of a sample of live predictions
offline/       `check` and `diagnose`, without a server
engine/        runs graphs for requests
diagnostics/   from the outputs of graphs to the answers of `/diagnostics/…`
sources/       what is served: folders of bundles, bundles, and models that are imported beforehand
bundles/       bundles, loaded and kept in step with their sources
images/        from image files to the numbers that a network reads
contract/      shared with `export`: bundles, their graphs and what these give
output/        what the process writes
machine/       what the machine grants the process
static/        the pages, their scripts and styles
"""

__version__ = "0.2.0"
