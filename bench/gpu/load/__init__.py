"""The service under load, and what it is compared with.

nets         the nets that are served, each with photographs whose labels are known
turns        the starts of the service, and what each is asked for
measurement  one start under its loads, from the first row to the last
generators   load from several processes at once, in one window of time
bound        the same graphs in one process, fed from the device's memory
host         the host's part of an image
usage        memory and use of the card, as the driver tells them
tables       what the page says of the rows
"""
