"""What the GPU does: its numbers against float64, its time beside torch's, and the service on it.

part      what a part is, and a row that fails alone
results   the rows of a part, kept in a file as they are measured
running   a part in a process of its own, and what is left of the time
card      the card, the processor and the versions that rows are true of
nets      the nets that are measured, and what is fed to them
sessions  sessions on the card, and runs between fixed places of its memory
graphs    part 1: every graph on the card against float64
numbers   what part 1 is made of
replays   its runs as CUDA graphs, in a process of their own
ratios    part 2: norms beside the forward run and beside torch
serving   part 3: the service under load
load      what part 3 is made of
messages  part 4: what is said where there is no usable card
starts    what part 4 is made of
"""
