"""Table of the repository's structure, to compare two states of the tree.

    python experiments/structure.py [--no-run] TREE [TREE …]

Each TREE is a folder that holds `archgym/`, such as this checkout (`.`) or the unpacked archive of
an older commit. Sizes and imports are counted from texts, the same way for all trees. What a search
executes is counted by a profiler in a process of its own that imports the tree.
"""

import argparse
import ast
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Final

LONG: Final = 40
"""Lines of a function above which it counts as long."""
SIMULATORS: Final = "archgym.simulators."
DOOR: Final = "archgym.simulators.kit"
LEFT_OUT: Final = {".venv", ".git", "build", "dist", "node_modules", "__pycache__"}
# Counts files and functions of the package that a program executes, those of all its threads.
PROFILE: Final = """
import sys, threading, tempfile, pathlib, runpy
seen, root = set(), None
def note(frame, event, _):
    if event == "call":
        code = frame.f_code
        seen.add((code.co_filename, code.co_qualname))
threading.setprofile(note)
sys.setprofile(note)
import archgym
root = str(pathlib.Path(archgym.__file__).parent)
folder = tempfile.mkdtemp()
if sys.argv[1] == "python":
    archgym.search("dram", budget=50, folder=folder + "/study")
else:
    sys.argv = ["archgym", "search", "dram", "--budget", "50", "--out", folder + "/study", "--json"]
    sys.stdout = open(folder + "/out", "w")
    try:
        runpy.run_module("archgym", run_name="__main__")
    except SystemExit:
        pass
sys.setprofile(None)
# Threads that end may still add to it.
own = {(f, n) for f, n in seen.copy() if f.startswith(root) and n != "<module>"}
print(len({f for f, _ in own}), len(own), file=sys.__stdout__)
"""


@dataclass(frozen=True)
class Tree:
    """A checkout, or the unpacked archive of a commit."""

    root: Path

    @cached_property
    def texts(self) -> dict[Path, str]:
        """Texts of the package's modules, by path in the tree."""
        found = sorted((self.root / "archgym").rglob("*.py"))
        return {path.relative_to(self.root): path.read_text() for path in found}

    @cached_property
    def nodes(self) -> dict[str, ast.Module]:
        """Syntax trees of the package's modules, by dotted name."""
        return {_dotted(path): ast.parse(text) for path, text in self.texts.items()}

    def lines(self, under: str = "archgym") -> int:
        """Return the lines of the package's modules in a folder."""
        return sum(
            len(text.splitlines())
            for path, text in self.texts.items()
            if path.is_relative_to(under)
        )

    def whole(self, suffix: str) -> Iterator[str]:
        """Yield the texts of all files of the repository with a suffix."""
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(set(folders) - LEFT_OUT)
            for name in sorted(names):
                if name.endswith(suffix):
                    yield Path(folder, name).read_text()

    def functions(self) -> list[int]:
        """Return the lines of each function of the package."""
        return [
            (node.end_lineno or 0) - node.lineno + 1
            for tree in self.nodes.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def members(self) -> int:
        """Return the public attributes and methods of `Simulator`."""
        tree = self.nodes["archgym.evaluation.simulator"]
        classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
        body = next(node.body for node in classes if node.name == "Simulator")
        names = set()
        for node in body:
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
        return sum(not name.startswith("_") for name in names)

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Modules of the package that each module imports, those for types alone included."""
        names = set(self.nodes)
        found = {}
        for name, tree in self.nodes.items():
            mine = {each for named in _imported(tree) if (each := _module(named, names))}
            found[name] = mine - {name}
        return found

    def simulators(self) -> list[str]:
        """Return the folders of simulators."""
        folder = self.root / "archgym" / "simulators"
        return sorted(path.parent.name for path in folder.glob("*/simulator.py"))

    def levels(self, prefix: str) -> int:
        """Return the longest chain of imports among modules with a prefix; a circle counts once."""
        within = {
            name: {each for each in imported if each.startswith(prefix)}
            for name, imported in self.imports.items()
            if name.startswith(prefix)
        }
        depth: dict[str, int] = {}

        def level(name: str, above: tuple[str, ...] = ()) -> int:
            if name not in depth:
                below = (e for e in within.get(name, ()) if e not in above)
                depth[name] = 1 + max((level(e, (*above, name)) for e in below), default=0)
            return depth[name]

        return max(map(level, within), default=0)

    def mutual(self, simulator: str) -> int:
        """Return the pairs of folders and modules of a simulator that import each other."""
        prefix = f"{SIMULATORS}{simulator}."
        arrows = {
            (name.removeprefix(prefix).split(".")[0], each.removeprefix(prefix).split(".")[0])
            for name, imported in self.imports.items()
            if name.startswith(prefix)
            for each in imported
            if each.startswith(prefix)
        }
        parts = sorted({part for arrow in arrows for part in arrow} - {"__init__"})
        return sum((a, b) in arrows and (b, a) in arrows for a, b in combinations(parts, 2))

    def outside(self) -> int:
        """Return the imports of simulators that are of neither a simulator nor the kit."""
        return sum(
            not each.startswith((SIMULATORS, DOOR))
            for name, imported in self.imports.items()
            if name.startswith(SIMULATORS) and not name.startswith(DOOR)
            for each in imported
        )

    def executed(self, way: str) -> str:
        """Return the files and functions of the package that a search of 50 designs executes."""
        environment = {**os.environ, "PYTHONPATH": str(self.root.resolve())}
        command = [sys.executable, "-W", "ignore", "-c", PROFILE, way]
        # The first run compiles kernels.
        for _ in range(2):
            ran = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, check=True
            )
        return ", ".join(ran.stdout.split()[-2:])


def _dotted(path: Path) -> str:
    names = path.with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def _module(name: str, names: set[str]) -> str | None:
    """Return the module that an imported name is or lies in."""
    while name and name not in names:
        name = name.rpartition(".")[0]
    return name or None


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("archgym"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archgym"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _number(n: int) -> str:
    return f"{n:,}"


RUN: Final[dict[str, Callable[[Tree], str]]] = {
    '`ag.search("dram", budget=50)`: files, functions executed': lambda t: t.executed("python"),
    "the same by the command line": lambda t: t.executed("command"),
}
ROWS: Final[dict[str, Callable[[Tree], str]]] = {
    "public members of `Simulator`": lambda t: f"{t.members()}",
    "levels of imports of the package": lambda t: f"{t.levels('archgym.')}",
    "imports of simulators outside the door": lambda t: _number(t.outside()),
    "lines of the package": lambda t: _number(t.lines()),
    "lines of all Python": lambda t: _number(sum(len(x.splitlines()) for x in t.whole(".py"))),
    "words of all Markdown": lambda t: _number(sum(len(x.split()) for x in t.whole(".md"))),
    "modules": lambda t: f"{len(t.texts)}",
    "functions": lambda t: _number(len(t.functions())),
    "median function, lines": lambda t: f"{statistics.median(t.functions()):g}",
    f"functions above {LONG} lines": lambda t: (
        f"{100 * sum(n > LONG for n in t.functions()) / len(t.functions()):.1f} %"
    ),
}


def table(trees: list[Tree], is_run: bool) -> str:
    """Return the table as Markdown, a column a tree."""
    chosen = {**(RUN if is_run else {}), **ROWS}
    rows = [[what, *(count(tree) for tree in trees)] for what, count in chosen.items()]
    packages = {path.parts[1] for tree in trees for path in tree.texts if len(path.parts) > 2}
    rows += [
        [f"lines of {name}/", *(_number(tree.lines(f"archgym/{name}")) for tree in trees)]
        for name in sorted(packages - {"simulators"})
    ]
    for name in sorted({name for tree in trees for name in tree.simulators()}):
        cells = [
            f"{tree.lines(f'archgym/simulators/{name}'):,} / {tree.levels(f'{SIMULATORS}{name}.')} "
            f"/ {tree.mutual(name)}"
            if name in tree.simulators()
            else ""
            for tree in trees
        ]
        rows.append([f"simulators/{name}/: lines / levels of imports / mutual pairs", *cells])
    head = ["", *(str(tree.root) for tree in trees)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-run", action="store_true", help="count texts alone")
    parser.add_argument("trees", nargs="+", type=Path)
    given = parser.parse_args()
    print(table([Tree(root) for root in given.trees], not given.no_run))


if __name__ == "__main__":
    main()
