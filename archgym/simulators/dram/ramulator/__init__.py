"""The second memory controller: what Ramulator 2.1 does, command for command."""
