"""Request traces of other tools, and settings of serving engines."""
