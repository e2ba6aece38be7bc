"""Several cores in front of one last-level cache: an extension that nothing validates."""
