"""Exhaustive tables: every design of a space simulated once, and what is proven by that."""

from archgym.tables.build import TablePlan, TableProgress, build_table, partial_folder
from archgym.tables.exhaustive import Exhaustive
from archgym.tables.optimum import FrontPoint, Optimum
from archgym.tables.proof import Proof, prove
from archgym.tables.simulator import TableSimulator
from archgym.tables.verification import verify_table

__all__ = [
    "Exhaustive",
    "FrontPoint",
    "Optimum",
    "Proof",
    "TablePlan",
    "TableProgress",
    "TableSimulator",
    "build_table",
    "partial_folder",
    "prove",
    "verify_table",
]
