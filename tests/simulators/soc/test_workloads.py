"""Task graphs: files that ship, hostile files, several at once, and generated ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.soc import graph_text, load_graph, read_graph
from archgym.simulators.soc.workloads import SHIPPED


def _data() -> dict[str, Any]:
    return json.loads(graph_text(load_graph("cava")))  # type: ignore[no-any-return]


def _written(tmp_path: Path, data: object, name: str = "own.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(data, indent=1))
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_graph_comes_back_from_its_text(name: str, tmp_path: Path) -> None:
    graph = load_graph(name)
    path = tmp_path / "own.json"
    path.write_text(graph_text(graph))

    back = read_graph(path)

    assert back.digest == graph.digest
    assert back.budgets == graph.budgets
    assert back.tight_budgets == graph.tight_budgets


def test_three_graphs_at_once_are_the_shipped_combination() -> None:
    merged = load_graph("audio-decoder+cava+edge-detection")
    shipped = load_graph("ar-complex")

    assert merged.names == shipped.names
    assert merged.digest == shipped.digest
    assert merged.budgets.latency_s == shipped.budgets.latency_s
    # Sums of three equal limits, rounded otherwise than in the file.
    assert merged.budgets.power_w == pytest.approx(shipped.budgets.power_w, rel=1e-12)


def test_graphs_with_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="different names"):
        load_graph("cava+cava")


def test_unknown_graph_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'cava'"):
        load_graph("kava")


def _edge(index: int, edge: object) -> dict[str, Any]:
    data = _data()
    data["edges"][index] = edge
    return data


def _task(**changes: object) -> dict[str, Any]:
    data = _data()
    data["tasks"][1] |= changes
    return data


HOSTILE = {
    "end in a circle": (_edge(7, ["descale", "scale", 5.0]), "sink is a second one"),
    "circle": (
        {**_data(), "edges": [*_data()["edges"], ["tone_map", "demosaic", 5.0]]},
        "no cycle; there is one through demosaic",
    ),
    "unknown task": (_edge(2, ["demosaic", "denoize", 5.0]), "Did you mean 'denoise'"),
    "negative bytes": (_edge(2, ["demosaic", "denoise", -5.0]), "bytes must be a number from 1"),
    "not a number": (_edge(2, ["demosaic", "denoise", float("nan")]), "must be a number"),
    "endless bytes": (_edge(2, ["demosaic", "denoise", 1e300]), "must be a number"),
    "loop": (_edge(2, ["demosaic", "demosaic", 5.0]), "to itself"),
    "second edge": (
        {**_data(), "edges": [*_data()["edges"], ["scale", "demosaic", 5.0]]},
        "this is the second",
    ),
    "two sources": (
        {**_data(), "tasks": [*_data()["tasks"], {"name": "other", "cpu_cycles": 0.0}]},
        "other is a second one",
    ),
    "no parents": (_edge(1, ["source", "sink", 5.0]), "demosaic has none"),
    "name of a block": (_task(name="bus0"), "must not be named like a block"),
    "name with a path": (_task(name="../x"), "must begin with a letter"),
    "dummy with work": (_task(dummy=True), "must be 0 for a dummy"),
    "no work": (_task(cpu_cycles=0.0), "above 0 for others"),
    "iterations": (
        _task(ip={"cycles": 1.0, "energy_fj": 1.0, "area_um2": 1.0, "iterations": 0}),
        "whole number from 1",
    ),
    "no area": (_task(ip={"cycles": 1.0, "energy_fj": 1.0, "iterations": 1}), "'area_um2'"),
    "misspelt key": (_task(cpu_cycle=1.0), "Did you mean 'cpu_cycles'"),
    "last task": ({**_data(), "last_tasks": {"cava": "none"}}, "must be listed in `tasks`"),
    "no last task": ({**_data(), "last_tasks": {}}, "must name the last task"),
    "budgets": ({**_data(), "budgets": {"latency_s": {}, "power_w": 1}}, "'area_m2'"),
    "latency": (
        {**_data(), "budgets": {"latency_s": {}, "power_w": 1, "area_m2": 1}},
        "must have 'cava'",
    ),
    "list": ([1, 2], "must be a mapping"),
    "number": (3, "must be a mapping"),
    "tasks as text": ({**_data(), "tasks": "many"}, "`tasks` must be a list"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_refused_in_one_line_with_its_line(case: str, tmp_path: Path) -> None:
    data, expected = HOSTILE[case]

    with pytest.raises(FileFormatError) as caught:
        read_graph(_written(tmp_path, data))

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.line is not None


def test_tasks_after_the_last_one_of_a_workload_are_reported(tmp_path: Path) -> None:
    with collected_reductions() as notes:
        load_graph("cava")
        assert not notes
        read_graph(_written(tmp_path, {**_data(), "last_tasks": {"cava": "denoise"}}))

    assert notes == ["cava: latency ends with denoise; transform run later, uncounted."]


def test_line_is_that_of_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    lines = graph_text(load_graph("cava")).splitlines()
    place = next(n for n, line in enumerate(lines) if '"denoise", "transform"' in line)
    lines[place] = lines[place].replace("364212.0", "-1")
    path.write_text("\n".join(lines))

    with pytest.raises(FileFormatError) as caught:
        read_graph(path)

    assert caught.value.line == place + 1


def test_million_tasks_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    tasks = ",".join(f'{{"name":"t{n}","cpu_cycles":1}}' for n in range(1_000_000))
    path.write_text(f'{{"name":"big","tasks":[{tasks}],"edges":[]}}')

    with pytest.raises(FileFormatError, match="at most"):
        read_graph(path)


def test_too_many_tasks_of_a_small_file_are_refused(tmp_path: Path) -> None:
    data = {**_data(), "tasks": [{"name": f"t{n}", "cpu_cycles": 1} for n in range(401)]}

    with pytest.raises(FileFormatError, match="at most 400"):
        read_graph(_written(tmp_path, data))


@pytest.mark.parametrize("text", ["", "{", '{"name": "x"', "\x00", "[" * 5000])
def test_torn_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)

    with pytest.raises(FileFormatError):
        read_graph(path)
