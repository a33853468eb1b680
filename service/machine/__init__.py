"""Processors, memory, descriptors and connections: how much the machine grants this process, and how it is used.

control_group   files of this process's control group
cpu_limit       CPUs that the process may use
free_cores      whether cores are free at the moment
memory_limit    memory that the container may use
memory          options of glibc's malloc
descriptors     descriptors that the process may have open
connections     how many connections are open, and why some were closed
priority        priorities of threads
"""
