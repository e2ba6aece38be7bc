"""Compiled model of routers, channels and nodes, cycle by cycle."""
