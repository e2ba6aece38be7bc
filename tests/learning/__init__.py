"""Tests of what learning agents share."""
