"""The two models of memory controllers: DRAMSys 4 and Ramulator 2.1."""
