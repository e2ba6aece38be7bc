"""Rows of the validation table: published or measured numbers against the simulator's."""

from archgym.simulators.moe.validation.balance import balance_rows
from archgym.simulators.moe.validation.caches import (
    event_rows,
    library_rows,
    locality_rows,
    toy_rows,
)
from archgym.simulators.moe.validation.readme import readme_rows
from archgym.simulators.moe.validation.routing import routing_rows
from archgym.simulators.moe.validation.row import Row

__all__ = [
    "Row",
    "balance_rows",
    "event_rows",
    "library_rows",
    "locality_rows",
    "readme_rows",
    "routing_rows",
    "toy_rows",
]
