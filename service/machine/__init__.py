"""What the machine grants this process, and how the process uses it: processors, memory, descriptors, connections."""
