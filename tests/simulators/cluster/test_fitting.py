"""Default designs that run on a user's model and cluster."""

import pickle
from pathlib import Path

import pytest

from archgym import Task
from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import fitted
from archgym.simulators.cluster import ClusterSimulator

_SHAPE = (
    "hidden: {h}\nblocks: {n}\nheads: 64\nsequence: 2048\nfold: {fold}\nglobal_batch: {batch}\n"
)
_CLUSTER = """npu: h100-80g
dimensions:
  - {topology: Switch, npus: 8, gb_per_s: 450, latency_ns: 936, tier: node}
  - {topology: Switch, npus: OUTER, gb_per_s: 50, latency_ns: 2000, tier: pod}
"""


def model(
    folder: Path, hidden: int = 2048, blocks: int = 24, fold: int = 4, batch: int = 64
) -> str:
    path = folder / "own.yaml"
    path.write_text(_SHAPE.format(h=hidden, n=blocks, fold=fold, batch=batch))
    return str(path)


def own_cluster(folder: Path, outer: int = 4) -> str:
    path = folder / "cluster.yaml"
    path.write_text(_CLUSTER.replace("OUTER", str(outer)))
    return str(path)


@pytest.mark.parametrize("space", ClusterSimulator.spec.space_names)
def test_default_of_shipped_models_stays(space: str) -> None:
    simulator = ClusterSimulator(space)

    for name in simulator.workload_names():
        assert fitted(simulator, [simulator.workload(name)]) is simulator


def test_default_stays_where_an_own_model_fits(tmp_path: Path) -> None:
    task = Task.make("cluster", model(tmp_path), space="parallel", system=own_cluster(tmp_path))

    assert "default" not in task.simulator.options


def test_batch_that_replicas_do_not_divide_gives_another_default(tmp_path: Path) -> None:
    own, system = model(tmp_path, batch=21), own_cluster(tmp_path)
    simulator = ClusterSimulator("parallel", system)
    default = simulator.space.design_at(simulator.space.default_indices)
    found = simulator.simulate(simulator.space.default_indices[None, :], simulator.workload(own))
    assert found.reason[0] != 0

    task = Task.make("cluster", own, space="parallel", system=system)

    # 21 samples are a multiple of 1, 3, 7 and 21 replicas; the cluster has 8 x 4 NPUs.
    assert task.simulator.options["default"] == "role_1:pp+microbatch:1"
    changed = dict(task.space.design_at(task.space.default_indices))
    assert changed == dict(default) | {"role_1": "pp", "microbatch": 1}
    assert task.reference[0][0] > 0.0


def test_model_that_needs_more_memory_gives_a_default_that_fits(tmp_path: Path) -> None:
    own, system = model(tmp_path, 8192, 80, batch=256), own_cluster(tmp_path)
    place = [spec.name for spec in ClusterSimulator.spec.metrics].index("memory_percent")
    plain = ClusterSimulator("parallel", system)
    usual = plain.evaluate_batch(plain.space.default_indices[None, :], plain.workload(own))
    assert usual.values[0, place] > 100.0

    task = Task.make("cluster", own, space="parallel", system=system)

    assert task.reference[0, place] <= 100.0


def test_model_that_fits_nowhere_is_refused_with_the_memory_it_needs(tmp_path: Path) -> None:
    own, system = model(tmp_path, 16384, 160, batch=256), own_cluster(tmp_path, 2)

    with pytest.raises(InvalidArgumentError) as refused:
        Task.make("cluster", own, space="parallel", system=system)

    # 12 h^2 weights a block and 64,000 h at the ends, 18 bytes each, over 16 NPUs: 592 GB.
    text = str(refused.value)
    assert "\n" not in text
    needed = float(text.split("at least ")[1].split(" GB")[0])
    assert 579.9 < needed < 640.0
    assert "each of 16 NPUs, which have 80 GB" in text


def test_batch_that_no_design_divides_is_refused(tmp_path: Path) -> None:
    # A prime number of samples, above the 512 microbatches that an iteration may have.
    own, system = model(tmp_path, batch=1009), own_cluster(tmp_path)

    with pytest.raises(InvalidArgumentError, match=r"global batch of 1,009 samples") as refused:
        Task.make("cluster", own, space="parallel", system=system)

    assert "\n" not in str(refused.value)


def test_task_with_another_default_is_made_again_from_its_record(tmp_path: Path) -> None:
    own, system = model(tmp_path, batch=21), own_cluster(tmp_path)
    task = Task.make("cluster", own, space="parallel", system=system)

    assert Task.from_json(task.to_json()).digest == task.digest
    assert Task.make(task.simulator, own).digest == task.digest
    again = pickle.loads(pickle.dumps(task.simulator))
    assert (again.space.default_indices == task.space.default_indices).all()
    assert again.workload(own).digest == task.workloads[0].workload.digest


def test_default_that_is_given_stays(tmp_path: Path) -> None:
    own = model(tmp_path, 16384, 160, batch=256)
    task = Task.make(
        "cluster", own, space="parallel", system=own_cluster(tmp_path, 2), default="zero:3"
    )

    assert task.space.design_at(task.space.default_indices)["zero"] == 3


@pytest.mark.parametrize("text", ["zero", "zero:9", "colour:red", "zero:3+", ":", "zero:3+pp"])
def test_impossible_default_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="`default` must give values") as refused:
        ClusterSimulator("parallel", default=text)

    assert "\n" not in str(refused.value)


def test_default_that_gives_a_parameter_twice_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="each parameter once"):
        ClusterSimulator("parallel", default="zero:3+zero:2")


def test_all_models_of_a_task_run(tmp_path: Path) -> None:
    own, system = model(tmp_path, batch=12), own_cluster(tmp_path)

    task = Task.make("cluster", [own, "bert-large"], space="parallel", system=system)

    # 12 samples are no multiple of 4 replicas x 2, those of the space's default.
    assert "default" in task.simulator.options
    assert (task.reference[:, 0] > 0.0).all()


def test_models_that_no_design_runs_together_are_refused(tmp_path: Path) -> None:
    own, system = model(tmp_path, batch=21), own_cluster(tmp_path)

    # 21 samples need microbatches of one, of which bert-large has more than 512.
    with pytest.raises(InvalidArgumentError, match="runs all of own, bert-large"):
        Task.make("cluster", [own, "bert-large"], space="parallel", system=system)
