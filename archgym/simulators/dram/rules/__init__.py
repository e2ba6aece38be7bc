"""Scheduling and page rules as code: their domain, cases and runs."""
