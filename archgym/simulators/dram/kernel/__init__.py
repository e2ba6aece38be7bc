"""What both memory controllers share: energy from commands and currents."""
