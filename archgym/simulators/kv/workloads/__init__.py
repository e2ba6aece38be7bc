"""Workloads of the KV simulator: traces, their streams of requests, and blocks of these."""
