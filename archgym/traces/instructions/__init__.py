"""Instruction traces: files in ChampSim's form, and recording of programs."""
