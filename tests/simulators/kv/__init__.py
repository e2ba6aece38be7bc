"""Tests of the KV simulator."""
