"""Files of the training cluster: clusters, traces, exports and pictures."""
