"""NPUs and their network, parallelisations, and what a design makes of them."""
