"""Bottlenecks in `archgym explain`: limits of a design with changes that relieve them."""

import pytest

from tests.cli.conftest import Archgym


def test_bottlenecks_of_a_system_name_moves(archgym: Archgym) -> None:
    found = archgym("explain", "default", "soc", "--space", "small", "--json").json["bottlenecks"]

    latency = [entry for entry in found if entry["metric"] == "latency_s"]
    assert latency[0]["share"] >= latency[-1]["share"] > 0.0
    assert all(entry["moves"] and entry["workload"] == "cava" for entry in found)


def test_bottlenecks_from_costs_agree_with_the_effect_of_removing_them(archgym: Archgym) -> None:
    found = archgym("explain", "default", "dram", "--json").json

    assert found["bottlenecks"]
    free = {entry["cost"]: entry["change_percent"] for entry in found["without"]}
    for entry in found["bottlenecks"]:
        assert entry["parameters"]
        change = free[entry["name"]].get(entry["metric"], 0.0)
        if change < 0:
            assert change == pytest.approx(-100 * entry["share"])
    assert any(change < 0 for changes in free.values() for change in changes.values())
