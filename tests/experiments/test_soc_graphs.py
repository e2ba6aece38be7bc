"""Random task graphs can be read and run."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.soc import SocSimulator, graph_text
from experiments.soc_graphs import generate_graph


@pytest.mark.parametrize(("tasks", "width"), [(1, 1), (12, 3), (40, 6)])
def test_generated_graph_can_be_read_and_run(tasks: int, width: int, tmp_path: Path) -> None:
    graph = generate_graph(tasks, width, seed=5)
    path = tmp_path / "own.json"
    path.write_text(graph_text(graph))

    assert graph.digest == generate_graph(tasks, width, seed=5).digest
    assert graph.digest != generate_graph(tasks, width, seed=6).digest
    simulator = SocSimulator(graph=str(path))
    designs = simulator.space.sample(5, np.random.default_rng(0))
    result = simulator.evaluate_batch(designs, simulator.workload(str(path)))
    assert (result.reason == 0).all()


def test_generator_refuses_what_it_cannot_make() -> None:
    with pytest.raises(InvalidArgumentError, match="tasks"):
        generate_graph(0)
    with pytest.raises(InvalidArgumentError, match="width"):
        generate_graph(5, 0)
