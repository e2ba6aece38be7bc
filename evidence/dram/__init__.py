"""Validation of the DRAM simulator against DRAMSys 4, Ramulator 2.1 and DRAMPower 6.2."""

from evidence.dram.reference import GROUPS, validate

__all__ = ["GROUPS", "validate"]
