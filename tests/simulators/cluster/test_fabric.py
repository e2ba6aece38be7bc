"""Loads of leaf-spine fabrics by how flows choose their paths."""

from fractions import Fraction

import pytest

from archgym.cli.app import run
from archgym.errors import InvalidArgumentError
from archgym.simulators.cluster.kernel.fabric import Fabric, ecmp_loads, flows_of, loads, step_ns


@pytest.mark.parametrize(
    ("leaves", "hosts", "spines"), [(4, 4, 3), (6, 4, 5), (8, 8, 3), (3, 5, 7)]
)
@pytest.mark.parametrize("pattern", ["ring", "leaf-shift", "all-to-all"])
def test_splitting_reaches_the_uplink_load_of_spraying(
    leaves: int, hosts: int, spines: int, pattern: str
) -> None:
    fabric = Fabric(leaves, hosts, spines)
    flows = flows_of(fabric, pattern)

    assert loads(fabric, flows, "split")[0] == loads(fabric, flows, "spray")[0]


def test_recorded_permutation_has_its_loads() -> None:
    fabric = Fabric(4, 4, 2)
    flows = flows_of(
        fabric, "0>7;1>8;2>5;3>12;4>1;5>10;6>14;7>2;8>4;9>6;10>13;12>0;13>15;14>9;15>3"
    )

    assert loads(fabric, flows, "split") == (Fraction(2), Fraction(3))
    assert loads(fabric, flows, "round-robin") == (Fraction(3), Fraction(2))


def test_hashing_is_never_better_than_spraying() -> None:
    fabric = Fabric(4, 4, 4)
    flows = flows_of(fabric, "leaf-shift")

    drawn = ecmp_loads(fabric, flows, 50)

    assert drawn.min() >= 1
    assert drawn.mean() == pytest.approx(2.65, rel=0.1)
    assert step_ns(fabric, flows, 1000.0, "spray", 50.0, 50.0) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("fabric", "pattern"),
    [
        (Fabric(4, 4, 4), "0>3;1>2"),
        (Fabric(4, 4, 4), "0>0"),
        (Fabric(1, 1, 4), "all-to-all"),
    ],
)
def test_flows_that_stay_in_their_leaf_load_no_link(fabric: Fabric, pattern: str) -> None:
    flows = flows_of(fabric, pattern)

    assert ecmp_loads(fabric, flows, 3).tolist() == [0.0, 0.0, 0.0]
    assert loads(fabric, flows, "split") == (0, 0)
    assert step_ns(fabric, flows, 1000.0, "ecmp", 50.0, 50.0) == (20.0 if flows else 0.0)


def test_command_states_the_flows_that_stay_in_their_leaf(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["cluster", "fabric", "--pattern", "0>3;1>2"])

    assert ended.value.code == 0
    assert "2 of 2 flows stay in their leaf" in capsys.readouterr().out


def test_nonsense_is_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        Fabric(0, 4, 4)
    with pytest.raises(InvalidArgumentError):
        flows_of(Fabric(2, 2, 2), "0>99")
    with pytest.raises(InvalidArgumentError):
        flows_of(Fabric(2, 2, 2), "zigzag")
