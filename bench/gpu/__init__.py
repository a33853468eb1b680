"""The GPU, measured: its numbers against float64, its time beside torch's, and the service on it.

part      what a part is, and a row that fails alone
results   the rows of a part, kept in a file as they are measured
running   each part in a process of its own, in its share of the time
card      the card, the processor and the versions that rows are true of
nets      the nets that are measured, and what is fed to them
sessions  sessions on the card, and runs between fixed places of its memory
graphs    the part that holds every graph on the card against float64
replays   the part that replays graphs as CUDA graphs
numbers   what these two are made of
ratios    the part that times norms beside the forward run and beside torch
serving   the part that loads the service
load      what it is made of
messages  the part that starts the service with and without a usable card
starts    what it is made of
"""
