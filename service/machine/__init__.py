"""What the machine grants this process: processors, memory, files, connections."""
