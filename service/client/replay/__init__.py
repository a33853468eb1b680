"""The verb `replay`: captured requests sent to another service, and the differences of its answers counted.

command      its flags, its output, its exit status
replaying    the requests, some at a time
sending      one connection to the service
requests     a captured request as it is sent, to another model if wanted
answers      what an answer says: labels, probabilities, tensors
differences  two answers to one request compared
tally        what came of all requests, as text and as JSON
"""
