"""Files of the SoC simulator: exports, pictures and random task graphs."""
