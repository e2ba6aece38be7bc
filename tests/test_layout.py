"""Imports go one way, and the quick paths load nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "archgym"

# What each part may import beside itself; the core is everything that lies in no folder.
CORE = "core"
ALLOWED = {
    CORE: set[str](),
    "parquet": {CORE},
    "traces": {CORE, "parquet"},
    "simulators": {CORE, "traces"},
    "datasets": {CORE, "parquet"},
    "tables": {CORE, "parquet"},
    "conformance": {CORE},
    "proxy": {CORE, "simulators", "datasets"},
    "envs": {CORE, "simulators", "datasets", "proxy"},
    "learning": {CORE, "simulators", "datasets", "proxy", "envs"},
    "agents": {CORE, "simulators", "datasets", "proxy", "envs", "learning"},
    "sweep": {CORE, "simulators", "datasets", "tables", "proxy", "envs", "learning", "agents"},
    "report": {CORE, "simulators", "datasets", "tables", "proxy", "envs", "agents", "sweep"},
    "cli": {
        *(CORE, "traces", "simulators", "datasets", "tables", "proxy", "envs", "agents"),
        *("sweep", "report"),
    },
}
# The program's entry, and the registration with Gymnasium that `import archgym` promises.
EXCEPTIONS = {("__main__.py", "cli"), ("__init__.py", "envs")}

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
HEAVY += ("gymnasium", "matplotlib", "plotly", "stable_baselines3")


def part_of(module: str) -> str:
    """The part that a module `archgym.…` belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 and names[1] in ALLOWED else CORE


def imports(path: Path) -> Iterator[str]:
    """Modules of ArchGym that a file imports, at any place in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("archgym"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archgym"):
            assert node.level == 0
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def test_imports_go_one_way() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        part = relative.parts[0] if relative.parts[0] in ALLOWED else CORE
        for module in imports(path):
            target = part_of(module)
            is_known = (str(relative), target) in EXCEPTIONS
            if target != part and target not in ALLOWED[part] and not is_known:
                wrong.append(f"{relative} imports {module}")

    assert wrong == []


def test_every_folder_of_the_package_is_known() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}

    assert folders <= set(ALLOWED)


def test_core_names_no_simulator_and_no_agent() -> None:
    names = {path.parent.name for path in PACKAGE.glob("simulators/*/__init__.py")}
    names |= {path.stem for path in PACKAGE.glob("agents/[a-z]*.py")}

    for path in PACKAGE.glob("*.py"):
        for module in imports(path):
            assert not set(module.split(".")[1:]) & {f"simulators.{n}" for n in names}, path


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


def test_nothing_imports_through_the_links() -> None:
    tops = {"envs", "simulators", "agents"}
    for folder in ("archgym", "tests", "examples", "benchmarks", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    assert not tops & {alias.name.split(".")[0] for alias in node.names}, path
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    assert (node.module or "").split(".")[0] not in tops, path
