"""Interface of agents, their hyperparameters and policies."""
