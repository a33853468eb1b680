"""A request as a call of an endpoint: everything that is the same whichever endpoint answers it.

gateway         makes a call of a request, and takes it to its endpoint
call            one request, from its head to the ledger
exchange        what a call needs of its connection
addresses       finds the endpoint of an address
access          asks for the key of a request
cross_origin    what a browser is told about pages of other origins
deadlines       deadlines of requests
lifecycle       whether the service is shutting down
service_parts   the parts of a running service, which every call carries
"""
