"""Many mixed requests against the real service while its bundles change under it: docs/reliability.md.

    folder        the bundles under test: which there are, and how they are swapped, broken, taken away
    requests      what is sent: one row per kind, with its share and the answers that are right
    manners       how it is sent: whole, in pieces, cut off, never finished
    answers       what is right: every answer asked for once at the start, and compared with a tolerance
    server        the service's process: descriptors, metrics, log
    play          the soak itself
    log           what was seen, and every promise that was not kept
    report        the section of the page

A soak ends after a number of requests, never after a time.
"""
