"""`archgym map` and `archgym workload`."""

from pathlib import Path

import pytest

from archgym.simulators.accelerator.formats.timeloop_problem import problem_text
from archgym.simulators.accelerator.problem import matrix_multiply
from tests.cli.conftest import Archgym

LAYER = "resnet-18/layer4.0.conv2"


@pytest.mark.slow
def test_map_prints_a_nest_its_costs_and_the_bound(archgym: Archgym) -> None:
    ran = archgym("map", LAYER, "--arch", "gemmini-like", "--tries", "3000")

    assert ran.code == 0, ran.err
    assert "scratchpad [Weights, Inputs]" in ran.out
    assert "edp_over_bound" in ran.out


@pytest.mark.slow
def test_a_mapping_that_was_written_costs_the_same_again(archgym: Archgym) -> None:
    given = ("map", LAYER, "--arch", "simba-like", "--json")
    first = archgym(*given, "--tries", "3000", "--out", "mapping.json").json

    again = archgym(*given, "--mapping", "mapping.json").json

    assert again["energy_uj"] == first["energy_uj"]
    assert again["cycles"] == first["cycles"]
    assert first["edp_over_bound"] >= 1


@pytest.mark.slow
def test_map_takes_a_whole_network(archgym: Archgym) -> None:
    ran = archgym("map", "alexnet-convolutions", "--tries", "500", "--json")

    assert [row["layer"] for row in ran.json] == ["conv1", "conv2", "conv3", "conv4", "conv5"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("map", "resnet-18/conv_1"), "conv1"),
        (("map", LAYER, "--arch", "eyeris"), "eyeriss-like"),
        (("map", LAYER, "--mapping", "no.yaml"), "no.yaml"),
        (("workload", "show", "resnet18"), "resnet-18"),
        (("workload", "import", "no.onnx", "--out", "x.txt"), ".csv"),
        (
            ("workload", "import", "no.onnx", "--out", "x.csv", "--size", "n=0"),
            "whole number from 1",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    archgym: Archgym, arguments: tuple[str, ...], what: str
) -> None:
    ran = archgym(*arguments)

    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert what in ran.err


def test_workload_show_lists_layers(archgym: Archgym) -> None:
    ran = archgym("workload", "show", "resnet-18", "--json")

    assert sum(layer["count"] for layer in ran.json["layers"]) == 21


def test_workload_import_makes_a_table(archgym: Archgym) -> None:
    onnx = pytest.importorskip("onnx")
    from tests.simulators.accelerator.test_onnx_model import model

    onnx.save(model(), "mine.onnx")
    ran = archgym("workload", "import", "mine.onnx", "--out", "mine.csv")

    assert ran.code == 0, ran.err
    assert Path("mine.csv").exists()
    assert archgym("workload", "show", "mine.csv").code == 0
    assert archgym("workload", "import", "mine.onnx", "--out", "mine.csv").code == 1


@pytest.mark.slow
def test_map_takes_timeloops_problem_architecture_and_mapping(archgym: Archgym) -> None:
    folder = Path(__file__).parents[1] / "simulators/accelerator/timeloop"
    problem = matrix_multiply("product", rows=8, inner=4, columns=6)
    Path("problem.yaml").write_text(problem_text(problem))
    Path("mapping.yaml").write_text(
        """mapping:
- {target: DRAM, type: temporal, factors: P8 C4 M6, permutation: CMP}
- {target: shared_glb, type: datatype, bypass: [Weights]}
- {target: inter_PE_column_spatial, type: datatype, bypass: [Weights, Inputs, Outputs]}
- {target: inter_PE_spatial, type: datatype, bypass: [Weights, Inputs, Outputs]}
- {target: ifmap_spad, type: datatype, bypass: [Weights, Outputs]}
- {target: weights_spad, type: datatype, bypass: [Inputs, Outputs]}
- {target: psum_spad, type: datatype, bypass: [Weights, Inputs]}
"""
    )

    ran = archgym(
        "map", "problem.yaml", "--arch", str(folder / "eyeriss_like_v4.yaml"),
        "--mapping", "mapping.yaml", "--json",
    )  # fmt: skip

    assert ran.code == 0, ran.err
    assert ran.json["cycles"] == 8 * 4 * 6


def test_map_takes_studies_for_architecture_and_mapping(archgym: Archgym) -> None:
    given = ("search", "accelerator", "-a", "random")
    layer, space = "alexnet-convolutions/conv3", ("--space", "mapping")
    option = ("--option", f"layer={layer}")
    assert archgym(*given, "--fidelity", "fast", "-n", "2", "--out", "chips").code == 0
    assert archgym(*given, *space, *option, "-n", "300", "--out", "nests").code == 0
    best = archgym("show", "nests", "--json").json["best"]["metrics"]

    mapped = archgym("map", layer, "--mapping", "nests", "--json").json
    on_chip = archgym("map", layer, "--arch", "chips", "--tries", "2000", "--json").json

    assert mapped["energy_uj"] == pytest.approx(best["energy_uj"])
    assert mapped["cycles"] == pytest.approx(best["latency_cycles"])
    assert on_chip["edp_over_bound"] >= 1
    for words, what in (
        (("--mapping", "chips"), "Give it with --arch"),
        (("--arch", "chips", "--mapping", "nests"), "does not fit"),
    ):
        refused = archgym("map", layer, *words)
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        assert what in refused.err


def test_options_that_a_network_does_not_take_are_refused(archgym: Archgym) -> None:
    ran = archgym("map", "resnet-18", "--out", "mapping.json")

    assert ran.code == 1
    assert "need a layer, such as resnet-18/fc" in ran.err
