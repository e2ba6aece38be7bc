"""Shows that simulators are islands: without all but one, the core's part of the suite passes.

    python tests/check_islands.py [SIMULATOR] [ARGUMENTS of pytest]

Works in a copy of the checkout. A test file is of the core if it lies in the folder of a package
other than `simulators`, or in `conformance`, and if neither it nor what it imports from outside of
the package names a simulator that is gone. `make islands` runs it.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_OURS = {"tests", "evidence", "experiments", "benchmarks"}


def simulators(root: Path) -> list[str]:
    """Return the folders of simulators in a checkout, by name."""
    return sorted(path.parent.name for path in root.glob("archgym/simulators/*/simulator.py"))


def copy_with(kept: str, root: Path) -> list[str]:
    """Copy the checkout with one simulator alone; return the others."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    gone = [name for name in simulators(root) if name != kept]
    for name in gone:
        for folder in ("archgym/simulators", "tests/simulators", "evidence"):
            shutil.rmtree(root / folder / name, ignore_errors=True)
    return gone


def core_tests(root: Path, gone: list[str]) -> list[str]:
    """Return the test files that name no simulator that is gone, nor import what does."""
    # Parts of a composition are gone as well, so its own name needs no pattern.
    names = "|".join(name for name in gone if "_plus_" not in name)
    named = re.compile(rf"(?<![a-z])(?:{names})(?![a-z])", re.IGNORECASE)

    @cache
    def is_core(path: Path) -> bool:
        return not named.search(path.read_text()) and all(map(is_core, helpers(path)))

    def helpers(path: Path) -> Iterator[Path]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _OURS:
                for name in (node.module, *(f"{node.module}.{each.name}" for each in node.names)):
                    module = root.joinpath(*str(name).split(".")).with_suffix(".py")
                    if module.is_file() and module != path:
                        yield module

    packages = {path.parent.name for path in root.glob("archgym/*/__init__.py")} - {"simulators"}
    folders = sorted({*packages, "conformance"})
    paths = [p for name in folders for p in sorted((root / "tests" / name).rglob("test_*.py"))]
    return [str(path.relative_to(root)) for path in paths if is_core(path)]


def main(kept: str = "soc", *arguments: str) -> int:
    """Copy, list the simulators that are left, and run the core's tests; return pytest's status."""
    with tempfile.TemporaryDirectory(prefix="archgym-island-") as folder:
        root = Path(folder)
        gone = copy_with(kept, root)
        environment = {**os.environ, "PYTHONPATH": folder}
        command = [sys.executable, "-m", "archgym", "list", "--json"]
        ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
        tests, shown = core_tests(root, gone), json.loads(ran.stdout)["simulators"]
        say = f"`archgym list` shows {shown}; {len(tests)} files of tests are of the core.\n"
        sys.stdout.write(say)
        sys.stdout.flush()
        marks = ["-m", "not slow and not nightly", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "-q", *marks, *arguments, *tests]
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
