"""Picture of the packages of archgym and the imports between them, as SVG.

`docs/generate.py` writes it to docs/pictures/packages.svg. Rows follow from the imports: a package
lies above everything that it imports. Imports for type checkers alone are left out.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

WIDTH, ROW, BOX, MARGIN = 860, 74, 30, 24
ENTRIES = ("__init__", "__main__")


def package_picture(package: Path) -> str:
    """Return the SVG text for the package in a folder."""
    edges = imported_packages(package)
    levels = {name: level(name, edges) for name in edges}
    rows: list[list[str]] = [[] for _ in range(max(levels.values()) + 1)]
    for name in sorted(levels):
        rows[levels[name]].append(name)
    place = {}
    for row, names in enumerate(reversed(rows)):
        for column, name in enumerate(names):
            x = WIDTH * (column + 0.5) / len(names)
            place[name] = (x, MARGIN + ROW * row + BOX / 2)
    height = 2 * MARGIN + ROW * (len(rows) - 1) + BOX
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="14" role="img">',
        "<title>Packages of archgym; an arrow points to an imported package</title>",
        "<style>text{fill:#1b1f24}rect{fill:#e8eef7;stroke:#5b7083}path{stroke:#8796a5}</style>",
        # A background of its own makes it legible in any theme.
        f'<rect width="{WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>',
    ]
    for name, targets in sorted(edges.items()):
        for target in sorted(direct(name, targets, edges)):
            lines.append(arrow(place[name], place[target]))
    for name, (x, y) in sorted(place.items()):
        half = 4.6 * len(name) + 12
        lines.append(
            f'<rect x="{x - half:.1f}" y="{y - BOX / 2:.1f}" width="{2 * half:.1f}" '
            f'height="{BOX}" rx="5"/><text x="{x:.1f}" y="{y + 5:.1f}" '
            f'text-anchor="middle">{name}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def imported_packages(package: Path) -> dict[str, set[str]]:
    """Return the packages and top-level modules, each with those that it imports."""
    edges: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        if path.match("simulators/*/cli.py"):
            continue  # part of the command line
        part = path.relative_to(package).parts[0].removesuffix(".py")
        if part not in ENTRIES:
            edges.setdefault(part, set()).update(imports(ast.parse(path.read_text())))
    return {name: {t for t in targets if t in edges} - {name} for name, targets in edges.items()}


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the packages that a module imports, inside functions included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archgym."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "archgym":
            yield from (alias.name for alias in node.names)
        yield from imports(node)


def level(name: str, edges: dict[str, set[str]]) -> int:
    """Return the length of the longest chain of imports below a package."""
    return max((level(target, edges) + 1 for target in edges[name]), default=0)


def direct(name: str, targets: set[str], edges: dict[str, set[str]]) -> set[str]:
    """Return the targets that no other target imports, so that few arrows tell the order."""
    behind: set[str] = set()
    for target in targets:
        behind |= below(target, edges)
    return targets - behind


def below(name: str, edges: dict[str, set[str]]) -> set[str]:
    """Return everything that a package imports, directly or not."""
    found = set(edges[name])
    for target in edges[name]:
        found |= below(target, edges)
    return found


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return a line from the lower edge of one box to the upper edge of another."""
    (x0, y0), (x1, y1) = start, end
    y0, y1 = y0 + BOX / 2, y1 - BOX / 2
    bend = (y1 - y0) / 2
    return (
        f'<path d="M{x0:.1f} {y0:.1f}C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} '
        f'{x1:.1f} {y1:.1f}" fill="none"/>'
        f'<path d="M{x1 - 4:.1f} {y1 - 6:.1f}L{x1:.1f} {y1:.1f}L{x1 + 4:.1f} {y1 - 6:.1f}" '
        'fill="none"/>'
    )
