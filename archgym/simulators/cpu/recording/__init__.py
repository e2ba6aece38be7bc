"""Recording of the instructions of a user's program on Linux, x86-64."""
