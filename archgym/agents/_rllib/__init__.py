"""Training of RLlib policies for agents."""
