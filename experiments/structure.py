"""Table of the package's structure, to compare two states of the tree.

    python experiments/structure.py TREE [TREE …]

Each TREE is a folder that holds `archgym/`, such as this checkout (`.`) or the unpacked archive of
an older commit. Everything is counted from syntax trees; nothing is imported.
"""

import argparse
import ast
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SHORT = 120
"""Lines below which a module that one other imports counts as a fragment."""
LONG = 40
"""Lines of a function above which it counts as long."""
KIT = "archgym.simulators.kit"
PARAMETERS = ("Categorical", "Integer", "Ordinal", "Parameter", "PowerOfTwo", "Real")


@dataclass(frozen=True)
class Tree:
    """The package in one folder."""

    root: Path

    @cached_property
    def texts(self) -> dict[Path, str]:
        """Texts of all modules, by path in the tree."""
        found = sorted((self.root / "archgym").rglob("*.py"))
        return {path.relative_to(self.root): path.read_text() for path in found}

    @cached_property
    def nodes(self) -> dict[Path, ast.Module]:
        """Syntax trees, by path in the tree."""
        return {path: ast.parse(text) for path, text in self.texts.items()}

    def lines(self, under: str = "archgym") -> int:
        """Return the lines of all modules in a folder."""
        return sum(
            len(text.splitlines())
            for path, text in self.texts.items()
            if path.is_relative_to(under)
        )

    def functions(self) -> list[int]:
        """Return the lines of each function."""
        return [
            (node.end_lineno or 0) - node.lineno + 1
            for tree in self.nodes.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def docstrings(self) -> int:
        """Return the lines of docstrings, those of attributes included."""
        return sum(
            (node.end_lineno or 0) - node.lineno + 1
            for tree in self.nodes.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        )

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Modules of the package that each module imports, by dotted name."""
        names = {_dotted(path): path for path in self.texts}
        found: dict[str, set[str]] = {}
        for path, tree in self.nodes.items():
            mine = {each for name in _imported(tree) if (each := _module(name, names)) is not None}
            found[_dotted(path)] = mine - {_dotted(path)}
        return found

    def fragments(self) -> int:
        """Return the number of short modules that a single other module imports."""
        users: dict[str, int] = {}
        for name, imported in self.imports.items():
            if not name.endswith("__init__"):
                for each in imported:
                    users[each] = users.get(each, 0) + 1
        return sum(
            len(text.splitlines()) < SHORT
            and path.name != "__init__.py"
            and users.get(_dotted(path)) == 1
            for path, text in self.texts.items()
        )

    def simulators(self) -> list[str]:
        """Return the folders of simulators."""
        folder = self.root / "archgym" / "simulators"
        return sorted(path.parent.name for path in folder.glob("*/simulator.py"))

    def entries(self, simulator: str) -> int:
        """Return the number of modules, folders and other files at the top of a simulator."""
        folder = self.root / "archgym" / "simulators" / simulator
        return sum(path.name not in ("__pycache__", "__init__.py") for path in folder.iterdir())

    def constructors(self) -> int:
        """Return the lines in which simulators take options and say how they are pickled."""
        return sum(
            (node.end_lineno or 0) - node.lineno + 1
            for path, tree in self.nodes.items()
            if path.match("archgym/simulators/*/simulator.py")
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__reduce__")
        )

    def short_forms(self) -> int:
        """Return the functions of simulators' spaces that only make a parameter."""
        return sum(
            isinstance(node, ast.FunctionDef)
            and node.returns is not None
            and ast.unparse(node.returns) in PARAMETERS
            for path, tree in self.nodes.items()
            if path.match("archgym/simulators/*/space.py")
            for node in tree.body
        )

    def classes(self, *names: str) -> int:
        """Return the classes with one of these names, evidence included."""
        evidence = sorted((self.root / "evidence").rglob("*.py"))
        trees = (*self.nodes.values(), *(ast.parse(path.read_text()) for path in evidence))
        return sum(
            isinstance(node, ast.ClassDef) and node.name in names
            for tree in trees
            for node in ast.walk(tree)
        )

    def rule_classes(self) -> int:
        """Return the classes of rules' cases and results, those of simulators included."""
        return sum(
            isinstance(node, ast.ClassDef) and node.name.endswith(("Case", "Result"))
            for path, tree in self.nodes.items()
            if "rules" in path.parts or "polic" in str(path)
            for node in ast.walk(tree)
        )

    def docs(self) -> list[str]:
        """Return the texts of the docs' pages, those of tutorials included."""
        folder = self.root / "docs"
        return [path.read_text() for path in (*folder.glob("*.md"), *folder.glob("tutorials/*.md"))]

    def on_kit(self) -> int:
        """Return the simulators that are built on the kit."""
        return sum(
            any(
                each.startswith(KIT)
                for each in self.imports[f"archgym.simulators.{name}.simulator"]
            )
            for name in self.simulators()
        )

    def levels(self, simulator: str) -> int:
        """Return the longest chain of imports among a simulator's modules."""
        prefix = f"archgym.simulators.{simulator}."
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


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def _module(name: str, names: dict[str, Path]) -> str | None:
    """Return the module that an imported name is or lies in."""
    while name:
        for each in (name, f"{name}.__init__"):
            if each in names:
                return each
        name = name.rpartition(".")[0]
    return None


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("archgym"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archgym"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %"


ROWS: dict[str, Callable[[Tree], str]] = {
    "lines": lambda tree: f"{tree.lines():,}",
    "modules": lambda tree: f"{len(tree.texts)}",
    f"modules below {SHORT} lines with one importer": lambda tree: f"{tree.fragments()}",
    "lines of docstrings": lambda tree: _share(tree.docstrings(), tree.lines()),
    "functions": lambda tree: f"{len(tree.functions()):,}",
    "median function": lambda tree: f"{statistics.median(tree.functions()):g}",
    f"functions above {LONG} lines": lambda tree: _share(
        sum(n > LONG for n in tree.functions()), len(tree.functions())
    ),
    "simulators, and those on the kit": lambda tree: f"{len(tree.simulators())}, {tree.on_kit()}",
    "lines of simulators' constructors and pickling": lambda tree: f"{tree.constructors():,}",
    "short forms of parameters in spaces": lambda tree: f"{tree.short_forms()}",
    "classes Validation, Row, Agreement and Line": lambda tree: (
        f"{tree.classes('Validation', 'Row', 'Agreement', 'Line')}"
    ),
    "classes of rules' cases and results": lambda tree: f"{tree.rule_classes()}",
    "pages and words of docs": lambda tree: (
        f"{len(tree.docs())}, {sum(len(text.split()) for text in tree.docs()):,}"
    ),
}


def table(trees: list[Tree]) -> str:
    """Return the table as Markdown, a column a tree."""
    rows = [[what, *(count(tree) for tree in trees)] for what, count in ROWS.items()]
    packages = sorted(
        {path.parts[1] for tree in trees for path in tree.texts if len(path.parts) > 2}
        - {"simulators"}
    )
    rows += [
        [f"lines of {name}/", *(f"{tree.lines(f'archgym/{name}'):,}" for tree in trees)]
        for name in packages
    ]
    for name in sorted({name for tree in trees for name in tree.simulators()}):
        cells = [
            f"{tree.lines(f'archgym/simulators/{name}'):,} / {tree.entries(name)} / "
            f"{tree.levels(name)}"
            if name in tree.simulators()
            else ""
            for tree in trees
        ]
        rows.append([f"simulators/{name}/: lines / entries / levels of imports", *cells])
    head = ["", *(str(tree.root) for tree in trees)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trees", nargs="+", type=Path)
    print(table([Tree(root) for root in parser.parse_args().trees]))


if __name__ == "__main__":
    main()
