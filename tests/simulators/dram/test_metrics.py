"""Estimates of the energy of devices without public currents."""

import numpy as np
import pytest

from archgym.tasks.task import Task


@pytest.mark.parametrize(
    ("device", "pj_per_bit"),
    [("hbm2", (3.90625, 6.0, 7.03125)), ("gddr6", (5.46875, 7.5, 7.5))],
)
def test_energy_without_currents_lies_between_published_figures(
    device: str, pj_per_bit: tuple[float, ...]
) -> None:
    task = Task.make("dram", "stream", "least-time", device=device, requests="400")

    row = dict(zip((s.name for s in task.metrics), task.reference[0], strict=True))

    moved_bits = 8.0 * row["bandwidth_gb_per_s"] * row["total_time_ns"]
    names = ("least_energy_pj", "estimated_energy_pj", "most_energy_pj")
    np.testing.assert_allclose([row[name] / moved_bits for name in names], pj_per_bit)
    assert not set(names) & {term.metric for term in task.objective.terms}
    assert "low-energy" not in task.simulator.spec.objectives
