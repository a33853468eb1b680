"""Many mixed requests against the real service while its bundles change under it: docs/reports/reliability.md.

    folder        the bundles under test: which there are, and how they are swapped, broken, taken away
    requests      the kinds of requests, one row each, with their shares and the statuses that are right
    manners       the ways to send one: whole, in pieces, cut off, never finished
    answers       the right answers, asked for once at the start, and compared with a tolerance
    server        the service's process: descriptors, metrics, log
    play          the soak itself
    log           everything that was seen, and every promise that was not kept
    report        the section of the page

A soak ends after a number of requests, never after a time.
"""
