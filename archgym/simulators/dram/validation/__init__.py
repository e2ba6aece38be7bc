"""Validation of the DRAM simulator against DRAMSys 4, Ramulator 2.1 and DRAMPower 6.2."""

from archgym.simulators.dram.validation.reference import Validation, validate

__all__ = ["Validation", "validate"]
