"""Request traces of other tools."""
