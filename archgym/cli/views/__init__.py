"""Text and JSON renderings of results."""
