"""Tasks: what is searched, made from plain choices, and the executors that evaluate it."""
