"""Evaluation of designs: simulators, metrics, objectives, tasks and executors."""
