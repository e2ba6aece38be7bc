"""Tests of the comparison of prefix caches with recorded counts."""
