"""Tests of the SoC simulator."""
