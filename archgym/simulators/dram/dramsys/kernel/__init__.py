"""The memory controller and its device in compiled code: what DRAMSys 4 computes, in order."""
