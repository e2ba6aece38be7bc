"""Studies: replay, journal, records, metadata, snapshots and merging."""
