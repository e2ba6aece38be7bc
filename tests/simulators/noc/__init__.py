"""Tests of the simulator of networks on chip."""
