"""Cycles of systolic arrays against SCALE-Sim's."""

from pathlib import Path

import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.simulators.accelerator.kernel.systolic import systolic_run
from archgym.simulators.accelerator.problem import convolution
from archgym.simulators.accelerator.simulator import AcceleratorSimulator
from evidence.accelerator.reference import _closed_form, _scale_sim

LAYER = convolution("t2", channels=5, filters=20, output=(7, 7), kernel=(2, 2), stride=(2, 2))


@pytest.mark.parametrize(
    ("n", "dataflow", "cycles"),
    [
        # SCALE-Sim 3.0.0, layer t2 of the recorded runs.
        (8, "weight-stationary", 638),
        (8, "output-stationary", 713),
        (8, "input-stationary", 881),
        (16, "weight-stationary", 379),
        (16, "output-stationary", 399),
        (16, "input-stationary", 527),
    ],
)
def test_cycles_are_those_of_scale_sim(n: int, dataflow: str, cycles: int) -> None:
    run = systolic_run(LAYER, n, n, dataflow)

    assert run.cycles == cycles
    assert run.utilisation == pytest.approx(7 * 7 * 20 * 5 * 4 / n**2 / cycles)


def test_channels_of_a_depthwise_layer_run_one_after_the_other() -> None:
    whole = convolution("d", channels=4, filters=4, output=(7, 7), kernel=(3, 3), groups=4)
    one = convolution("d", channels=1, filters=1, output=(7, 7), kernel=(3, 3))

    assert systolic_run(whole, 8, 8).cycles == 4 * systolic_run(one, 8, 8).cycles


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must have units"):
        systolic_run(LAYER, 0, 8)
    with pytest.raises(UnknownNameError, match="weight-stationary"):
        systolic_run(LAYER, 8, 8, "weights-stationary")


def test_every_recorded_run_is_met(reference: Path) -> None:
    (runs,) = _scale_sim(reference / "scalesim_runs.jsonl")
    forms = _closed_form(reference / "scalesim_closed_form.csv")

    assert (runs.n_rows, runs.n_met) == (30, 30)
    assert (sum(f.n_rows for f in forms), sum(f.n_met for f in forms)) == (180, 180)


def test_words_at_the_edges_are_those_of_the_folds() -> None:
    # 20 filters of 20 weights on 49 pixels, an array of 16 x 16: 2 x 2 folds, 2 x 4 with pixels.
    weights, pixels, results = 20 * 20, 49 * 20, 49 * 20

    assert systolic_run(LAYER, 16, 16).words == weights + 2 * pixels + 2 * results
    assert systolic_run(LAYER, 16, 16, "output-stationary").words == (
        results + 2 * pixels + 4 * weights
    )


def test_systolic_arrays_are_designs_with_metrics_of_their_own() -> None:
    simulator = AcceleratorSimulator("systolic")
    design = {"array_height": 32, "array_width": 8, "dataflow": "output-stationary"}

    found = simulator.evaluate(design, simulator.workload("resnet-18"))

    assert found["units"] == 256
    assert found["latency_cycles"] > 1.8e9 / 256
    assert "energy_uj" not in found
    assert [limit.metric for limit in simulator.spec.objectives["low-latency"].limits] == ["units"]
    with pytest.raises(InvalidArgumentError, match="Limit metrics instead, such as `units`"):
        AcceleratorSimulator("systolic", area_mm2="5")
