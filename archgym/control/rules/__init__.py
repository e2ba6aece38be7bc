"""Rules that choose settings during a run."""
