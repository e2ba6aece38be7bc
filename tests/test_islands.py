"""Simulators are islands: layers inside, and one door to the rest of the package.

All imports count, also those under functions and for type checkers.
"""

import ast
import graphlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.test_layout import PACKAGE, ROOT, imports, module_of

SIMULATORS = "archgym.simulators"
NAMES = tuple(sorted(path.parent.name for path in PACKAGE.glob("simulators/*/simulator.py")))
# A module of a row imports no module of a row further down.
ROWS = ("workloads", "machine", "kernel", "metrics", "simulator")
# Packages that are libraries of simulators, with what is theirs alone.
LIBRARIES = ("archgym.physics", "archgym.traces")


def files_of(simulator: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a simulator with their folder or module at its top."""
    folder = PACKAGE / "simulators" / simulator
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(folder).parts[0].removesuffix(".py"), path


def parts(simulator: str) -> dict[str, dict[str, str]]:
    """Return by folder or module of a simulator those that it imports, each with an example."""
    folder, own = PACKAGE / "simulators" / simulator, f"{SIMULATORS}.{simulator}"
    found: dict[str, dict[str, str]] = {}
    for part, path in files_of(simulator):
        for name in imports(path):
            if not f"{name}.".startswith(f"{own}."):
                continue
            other = name.removeprefix(own).lstrip(".").partition(".")[0]
            is_part = (folder / other).is_dir() or (folder / f"{other}.py").is_file()
            other = other if other and is_part else "__init__"
            if other != part:
                place = f"{path.relative_to(folder)} imports {name}"
                found.setdefault(part, {}).setdefault(other, place)
    return found


def uses(simulator: str) -> set[str]:
    """Return the simulators that one declares to use: `USES`, or the parts of a composition."""
    tree = ast.parse((PACKAGE / "simulators" / simulator / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "USES":
            assert node.value is not None
            return set(ast.literal_eval(node.value))
    return set(simulator.split("_plus_")) - {simulator}


@pytest.mark.parametrize("simulator", NAMES)
def test_folders_and_modules_of_a_simulator_import_one_way(simulator: str) -> None:
    graph = parts(simulator)

    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        # A node precedes those that import it.
        way = error.args[1]
        pytest.fail("; ".join(graph[b][a] for a, b in pairwise(way)))


@pytest.mark.parametrize("simulator", NAMES)
def test_layers_of_a_simulator_import_only_lower_ones(simulator: str) -> None:
    wrong = [
        place
        for part, others in parts(simulator).items()
        for other, place in others.items()
        if part in ROWS and other in ROWS and ROWS.index(other) > ROWS.index(part)
    ]

    assert wrong == []


@pytest.mark.parametrize("simulator", NAMES)
def test_simulator_imports_itself_the_kit_and_what_it_declares(simulator: str) -> None:
    known = {simulator, "kit", *uses(simulator)}
    wrong = []
    for _, path in files_of(simulator):
        # Commands are a part of the command line, which has a door of its own.
        fronts = ("archgym.cli.kit", "archgym.report.plots") if path.name == "cli.py" else ()
        for name in imports(path):
            names = name.split(".")
            is_simulator = names[1] == "simulators" and names[2] in known
            if not (is_simulator or name.startswith((*LIBRARIES, *fronts))):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")

    assert wrong == []


def test_simulators_declare_only_what_they_use_and_no_circle() -> None:
    graph = {simulator: uses(simulator) for simulator in NAMES}

    assert tuple(graphlib.TopologicalSorter(graph).static_order())
    for simulator in NAMES:
        others = {
            name.split(".")[2]
            for _, path in files_of(simulator)
            for name in imports(path)
            if name.startswith(f"{SIMULATORS}.")
        }
        # The name of a composition declares its parts, which it may use by their names alone.
        assert graph[simulator] <= others or "_plus_" in simulator


def test_every_name_of_the_kit_is_used_by_a_simulator() -> None:
    doors = [*(PACKAGE / "simulators" / "kit").glob("*.py"), PACKAGE / "cli" / "kit.py"]
    offered = {
        f"{module_of(path)}.{alias.asname}"
        for path in doors
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    plugin = ROOT / "examples" / "small_dram" / "small_dram.py"
    files = [path for simulator in NAMES for _, path in files_of(simulator)]

    used = {name for path in (*files, plugin) for name in imports(path)}
    # Parameters are offered as a whole.
    assert offered - used == {f"{SIMULATORS}.kit.Real"}
