"""The proof that strangers' classifiers are imported correctly; it writes docs/reports/coverage.md.

__main__        the command
tasks           every row there is to measure
rows            one row: a file imported, compared and served
measure         imports a file as a user would, and compares what its bundle computes with torch
exact           compares in float64 where float32 loses too many digits
truth/          what torch says, and how it is compared
architectures/  the list of networks, fixed here, which other packages define
files/          torch's exporters and the cache of what they wrote; files that packages bring
rivals          other packages that differentiate ONNX files
served          compares the service's answers over HTTP with torch
children        each file is measured in a process of its own, with a limit
preloaded       what such a process begins with
explained       one explanation beside those of grad-cam and captum
explain         the command for all of them, with a page of its own
store, page     the rows as JSON, and the page made of them; `page.md` is its template
"""
