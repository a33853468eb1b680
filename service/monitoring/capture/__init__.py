"""A share of the predictions with their answers, kept on disk as lines of JSON for drift tools and for replay.

capturing   which requests are kept, and the thread that writes them
records     a request as one line, plain or as a CloudEvent
ring        files of bounded size: the oldest is removed for the newest
reading     such lines read again
"""
