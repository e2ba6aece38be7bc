"""`archgym bottlenecks`: limits of a design with changes that relieve them."""

from tests.cli.conftest import Archgym


def test_bottlenecks_of_a_system_name_moves(archgym: Archgym) -> None:
    found = archgym("bottlenecks", "default", "soc", "--space", "small", "--json").json

    latency = [entry for entry in found if entry["metric"] == "latency_s"]
    assert latency[0]["share"] >= latency[-1]["share"] > 0.0
    assert all(entry["moves"] and entry["workload"] == "cava" for entry in found)


def test_bottlenecks_from_costs_name_parameters(archgym: Archgym) -> None:
    found = archgym("bottlenecks", "default", "dram", "--json").json

    assert found
    assert all(0.0 < entry["share"] <= 1.0 and entry["parameters"] for entry in found)
