"""Files of the SoC simulator: random task graphs."""
