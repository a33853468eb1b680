"""API keys: which are valid now, and how often each may call. The service knows keys only by their digests.

key         a key by its digest, and the lines of a file of keys
ring        the keys that are valid now
following   a file of keys, looked at again and again
allowance   the rate of one key
making      the command that makes a key
"""
