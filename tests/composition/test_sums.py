"""Sums over the parts of every composition that is registered."""

from collections.abc import Mapping

import pytest

from archgym.composition.compose import FunctionComposition
from archgym.composition.composition import _QUANTITIES, Composition, Part, _total
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import Workload, simulator_class, simulator_names
from tests.toys import ToySimulator

_COMPOSED = [name for name in simulator_names() if "+" in name]


@pytest.mark.parametrize("name", _COMPOSED)
@pytest.mark.parametrize("quantity", _QUANTITIES)
def test_composition_has_a_sum_of_its_parts_or_says_which_lack_it(name: str, quantity: str) -> None:
    made = make_simulator(simulator_class(name), None, None, {})
    assert isinstance(made, Composition)

    whole = _total([spec for spec in made.metrics if "." not in spec.name], quantity)
    lacking = [n for n, part in made.parts.items() if _total(part.metrics, quantity) is None]

    assert (whole is None) == (quantity in made.not_summed)
    if lacking and quantity in made.not_summed:
        assert all(part in made.not_summed[quantity] for part in lacking)


def test_sum_is_that_of_the_parts_in_one_unit() -> None:
    parts = {name: ToySimulator() for name in ("left", "right")}

    def both(parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float]:
        return {"ns": sum(part.run(workload)["latency_ns"] for part in parts.values())}

    made = FunctionComposition(both, {"ns": "minimise"}, parts, links={})
    found = made.evaluate(dict(made.space.default), made.workload("light"))

    assert found["total_power_mw"] == found["left.power_mw"] + found["right.power_mw"]
    assert made.not_summed["area"] == "left, right have none"


def test_energy_delay_of_array_and_memory_can_be_searched() -> None:
    made = make_simulator(
        simulator_class("accelerator+dram"), None, None, {"accelerator.layers": "1"}
    )
    found = made.evaluate(dict(made.space.default), made.workload("resnet-18"))

    parts = found["accelerator.energy_uj"] + found["dram.total_energy_pj"] / 1e6
    assert found["energy_uj"] == pytest.approx(parts, rel=1e-12)
    assert found["edp_nj_s"] == pytest.approx(parts * found["latency_us"] / 1e3, rel=1e-12)
    assert found["accelerator.energy_uj"] > 100.0
    assert "edp" in made.spec.objectives
