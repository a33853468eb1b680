"""The harness that every measurement stands on.

paths      the folders of this repository
server     a server in a process of its own: started, waited for, watched, ended
proxy      the same for nginx in front of it
apart      a function in a process of its own
client     one HTTP connection, written by hand so that it can also misbehave
collector  takes what OpenTelemetry sends
load       closed and open loops of requests
readings   what a running service says about itself
figures    figures beside what they should be
machine    the machine's name
page       the generated sections of the pages in docs/
"""
