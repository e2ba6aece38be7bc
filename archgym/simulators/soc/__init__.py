"""System on a chip: task graphs on processors, accelerators, buses and memories."""
