"""Physics of chips that simulators share: arrays of memory, heat, and what a chip costs."""
