"""Measurements: a simulator's error, calibrated metrics, and decisions under the error."""
