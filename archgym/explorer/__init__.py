"""A page on which a design answers while it is moved; it needs the extra `explore`."""
