"""A client's connection: reading requests, their order, writing answers.

client_connection   whose turn it is, and when the connection ends
request_reader      from received bytes to requests
cycle               one request, and the writing of its answer
flow                bounds what is read ahead
slow_readers        notices clients that do not read their answers
"""
