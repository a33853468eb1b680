"""Runs graphs for requests: decoding, queueing, batching, running, counting.

engine            what endpoints call: `run` and `submit`
tickets           units of work: jobs, tickets, batches
scheduler         the queue: which tickets run next, and which together
execution         the run slots: threads that run batches
decoding          decodes images within a limit on their pixels
waiting           waits for what goes on without the request
request_context   id, deadline, clock and pending work of one request
trace_context     the caller's trace
ledger            counts of requests and runs
"""
