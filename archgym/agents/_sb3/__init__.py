"""Training of Stable-Baselines3 policies for agents."""
