"""Option groups shared by commands."""
