"""Imports go one way, and the quick paths load nothing heavy."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "archgym"

# Rows of packages, lowest first. A package imports only packages of rows further down.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("spaces", "runtime", "checks"),
    ("files", "analysis"),
    ("rules",),
    ("evaluation", "traces"),
    ("composition", "physics"),
    ("control",),
    ("simulators", "measurements"),
    ("tasks",),
    ("agent", "tables"),
    ("studies",),
    ("datasets", "sweep", "testing"),
    ("bench",),
    ("report", "proxy", "envs"),
    ("searching",),
    ("agents", "codesign"),
    ("explorer",),
    ("mcp",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}
# The program's entry, and the registration with Gymnasium that `import archgym` promises.
ENTRIES = {"__init__", "__main__"}

HEAVY: tuple[str, ...] = (
    "numpy",
    "numba",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "optuna",
    "torch",
    "ray",
)
HEAVY += ("moocore", "gymnasium", "matplotlib", "plotly", "stable_baselines3", "panel", "bokeh")


def is_simulator_command(path: Path) -> bool:
    """Return True for `cli.py` in a simulator's folder, which is part of the command line."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] == "simulators" and parts[2:] == ("cli.py",)


def part_of(path: Path) -> str:
    """Return the package or top-level module that a file of the package belongs to."""
    if is_simulator_command(path):
        return "cli"
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def is_type_checking(node: ast.AST) -> bool:
    """Return True for a block that only type checkers read."""
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def nodes_of(tree: ast.AST, with_types: bool) -> Iterator[ast.AST]:
    """Yield the nodes of a tree, those inside functions included."""
    for node in ast.iter_child_nodes(tree):
        if with_types or not is_type_checking(node):
            yield node
            yield from nodes_of(node, with_types)


@cache
def imports(path: Path, with_types: bool = True) -> tuple[str, ...]:
    """Return names that a file imports from the package, as `module.name`."""
    return tuple(_imports(ast.parse(path.read_text()), with_types))


def _imports(tree: ast.Module, with_types: bool) -> Iterator[str]:
    for node in nodes_of(tree, with_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("archgym"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archgym"):
            assert node.level == 0
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def test_imports_point_down() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        part = part_of(path)
        if part in ENTRIES:
            continue
        for module in imports(path):
            target = module.partition(".")[2].partition(".")[0]
            if not target:
                wrong.append(f"{path.relative_to(PACKAGE)} imports archgym as a whole")
            elif target != part and RANK.get(target, -1) >= RANK[part]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")

    assert wrong == []


def test_commands_of_simulators_are_imported_by_no_module() -> None:
    commands = {module_of(path) for path in PACKAGE.rglob("*.py") if is_simulator_command(path)}
    imported = {name for path in PACKAGE.rglob("*.py") for name in imports(path)}

    assert commands
    assert not {
        name for name in imported if name in commands or name.rpartition(".")[0] in commands
    }


def test_command_line_names_no_simulator() -> None:
    simulators = {path.parent.name for path in PACKAGE.glob("simulators/*/__init__.py")}

    for path in (PACKAGE / "cli").rglob("*.py"):
        for module in imports(path):
            names = module.split(".")
            assert not (names[1] == "simulators" and names[2] in simulators), path


def test_modules_have_no_import_cycle() -> None:
    paths = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    graph = {}
    for module, path in paths.items():
        targets = set()
        for name in imports(path, with_types=False):
            owner = name if name in paths else name.rpartition(".")[0]
            # A package's `__init__` is not an edge of its own modules.
            if owner in paths and owner != module and not module.startswith(f"{owner}."):
                targets.add(owner)
        graph[module] = targets

    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_every_package_has_a_row() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}

    assert folders <= set(RANK)


def test_few_modules_lie_at_the_top() -> None:
    tops = {path.stem for path in PACKAGE.glob("*.py")}

    assert tops <= ENTRIES | {"errors", "checks", "searching", "version"}


def test_shared_packages_name_no_simulator_and_no_agent() -> None:
    simulators = {path.parent.name for path in PACKAGE.glob("simulators/*/__init__.py")}
    agents = {path.stem for path in PACKAGE.glob("agents/[a-z]*.py")}
    shared = [name for names in ROWS[: ROWS.index(("studies",)) + 1] for name in names]

    for name in set(shared) - {"simulators"}:
        for path in (PACKAGE / name).rglob("*.py"):
            for module in imports(path):
                names = module.split(".")
                assert not (names[1] == "simulators" and names[2] in simulators), path
                assert not (names[1] == "agents" and names[2] in agents), path


@pytest.mark.parametrize(
    "code",
    [
        "import archgym",
        "import archgym.cli.app",
        "from archgym.cli.app import run\ntry: run(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_quick_paths_load_nothing_heavy(code: str) -> None:
    look = f"\nimport sys\nsys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"

    ran = subprocess.run(
        [sys.executable, "-c", code + look], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert ran.stderr == ""


def test_links_at_the_top_lead_into_the_package() -> None:
    for name in ("envs", "simulators", "agents", "datasets"):
        link = ROOT / name
        if link.is_symlink():
            assert link.readlink() == Path("archgym") / name


def test_package_imports_no_evidence_and_no_experiment() -> None:
    outside = {"evidence", "experiments", "benchmarks", "tests"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not outside & {alias.name.split(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] not in outside, path


def test_nothing_imports_through_the_links() -> None:
    tops = {"envs", "simulators", "agents"}
    for folder in ("archgym", "evidence", "tests", "examples", "benchmarks", "experiments", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    assert not tops & {alias.name.split(".")[0] for alias in node.names}, path
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    assert (node.module or "").split(".")[0] not in tops, path
