"""Comparison of the KV simulator with recorded counts of vLLM's and SGLang's own classes."""

from evidence.kv.reference import GROUPS, validate

__all__ = ["GROUPS", "validate"]
