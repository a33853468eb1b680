"""Runs graphs for requests: decoding, queueing, batching, running, counting.

engine            what endpoints call: `run` and `submit`
cutting           how the images of one request are cut into tickets, and when a run takes every core
tickets           units of work: jobs, tickets, batches
scheduler         the queue: which tickets run next, and which together
execution         the run slots: threads that run batches
decoding          decodes images within a limit on their pixels
waiting           waits for what goes on without the request
request_context   id, deadline, clock and pending work of one request
trace_context     the caller's trace
ledger            counts of requests and runs
"""
