"""Files of the training cluster: clusters, traces and exports."""
