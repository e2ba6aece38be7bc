"""Reports: results of studies and sweeps as one self-contained page, and as tables."""
