"""Windows of power in runs whose accounts run ahead."""

import numpy as np

from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import FEASIBLE, simulator_class


def test_windows_of_power_are_finite_where_a_refresh_ends_after_the_next_part() -> None:
    options = {"device": "ddr3-1600-4ranks", "requests": "4000", "window_us": "1"}
    simulator = make_simulator(simulator_class("dram"), "default", "exact", options)
    changes = {
        "page_policy": "ClosedAdaptive", "scheduler": "Fifo", "scheduler_buffer": "ReadWrite",
        "request_buffer_size": 3, "response_queue": "Reorder", "refresh_max_postponed": 0,
        "refresh_max_pulled_in": 2, "power_down_policy": "Staggered", "arbiter": "Reorder",
        "address_mapping": "row-bank-column-xor",
    }  # fmt: skip
    values = {**simulator.space.design_at(simulator.space.default_indices), **changes}
    design = simulator.space.canonical(simulator.space.indices_of(values)[None, :])

    result = simulator.evaluate_batch(design, simulator.workload("stream"))

    names = [spec.name for spec in simulator.metrics]
    peak, mean = (result.values[0, names.index(name)] for name in ("peak_power_mw", "power_mw"))
    assert result.reason.tolist() == [FEASIBLE]
    assert np.isfinite(peak)
    assert mean <= peak <= 20 * mean
