"""Builds the wheel and checks what is in it, and that it works without the checkout.

Run as `python tests/check_wheel.py`, in an environment that has the dependencies.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 25_000_000
ALLOWED_TOPS = ("archgym/", "archgym-")


def main() -> None:
    """Exits with a message where something is wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = build(folder)
        problems = check_content(wheel)
        if problems:
            sys.exit("The wheel is wrong:\n" + "\n".join(f"  {problem}" for problem in problems))
        check_use(wheel, folder)
        size = wheel.stat().st_size
        sys.stdout.write(f"{wheel.name}: {size / 1e6:.2f} MB, content and imports are right.\n")


def build(folder: Path) -> Path:
    """The wheel, built from a copy: setuptools would take up what an old build left behind."""
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "archgym", source / "archgym", ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, cwd=folder)
    (wheel,) = folder.glob("archgym-*.whl")
    return wheel


def check_content(wheel: Path) -> list[str]:
    """What is wrong with the files in it."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    problems = [f"{name} does not belong in it" for name in names if not is_allowed(name)]
    missing = {str(path.relative_to(ROOT)) for path in expected_files()} - names
    problems += [f"{name} is missing" for name in missing]
    if wheel.stat().st_size >= MAX_BYTES:
        problems.append(f"it has {wheel.stat().st_size} bytes, {MAX_BYTES} or more")
    return sorted(problems)


def is_allowed(name: str) -> bool:
    """Whether a file of this name may be in it."""
    parts = Path(name).parts
    return name.startswith(ALLOWED_TOPS) and "tests" not in parts and "__pycache__" not in parts


def expected_files() -> list[Path]:
    """Every file of the package that git would keep."""
    return [
        path
        for path in (ROOT / "archgym").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]


def check_use(wheel: Path, folder: Path) -> None:
    """Imports it and runs a command, from a folder where the checkout is not seen."""
    target = folder / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, str(target), str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    code = (
        "import archgym, importlib.metadata as m;"
        f"assert archgym.__file__.startswith({str(target)!r}), archgym.__file__;"
        "from archgym.tasks.task import Task;"
        "from archgym.simulators.dram.dramsys.devices import device, dramsys_device_names;"
        "[device(name) for name in dramsys_device_names()]"
    )
    for command in (["-c", code], ["-m", "archgym", "list", "--json"]):
        subprocess.run(
            [sys.executable, *command],
            check=True,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main()
