"""Server of the Model Context Protocol: simulators and studies as tools for coding agents."""
