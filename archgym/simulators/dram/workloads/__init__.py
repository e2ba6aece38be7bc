"""Traces that ship, their generators, and what describes a trace."""
