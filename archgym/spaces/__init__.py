"""Design spaces: parameters, constraints, counting, sampling, neighbours and features."""
