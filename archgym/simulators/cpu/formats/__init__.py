"""Files of other simulators."""
