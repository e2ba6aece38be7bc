"""Machines: models, accelerators, engines, and what a design makes of them."""
