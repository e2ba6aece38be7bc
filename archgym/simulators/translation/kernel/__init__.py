"""Compiled model of TLBs, page walks and caches, and traces prepared for it."""
