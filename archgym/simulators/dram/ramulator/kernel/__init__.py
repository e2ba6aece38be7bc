"""The second controller in compiled code: what Ramulator 2.1 does, command for command."""
