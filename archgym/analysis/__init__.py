"""Pareto fronts, statistics and exact random search: numbers in, numbers out."""
