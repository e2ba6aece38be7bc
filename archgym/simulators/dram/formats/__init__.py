"""Files of traces, devices, address mappings and exported designs."""
