"""The sockets that the service listens on.

listeners   where the settings say to listen, from bound sockets to the end
internet    addresses and ports
unix        a socket that is a file
systemd     sockets that systemd passes, and what it wants to be told
"""
