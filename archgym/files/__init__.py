"""Atomic files, leases, archives, YAML and Parquet."""
