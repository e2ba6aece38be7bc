"""Files of the accelerator simulator: architectures, mappings, Timeloop's and ONNX's."""
