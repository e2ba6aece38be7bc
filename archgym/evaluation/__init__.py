"""What a simulator is and returns: spaces, metrics, objectives, limits and options."""
