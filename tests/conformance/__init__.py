"""Conformance suites over all that is found, and proof that they find faults."""
