"""Compiled kernels of MoE serving, and what runs them."""
