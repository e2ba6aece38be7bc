"""Installation of ArchGym: versions, optional parts, and what is missing for which feature."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from archgym.runtime.kernels import cache_folder, cache_name
from archgym.version import __version__

_CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
_COMPILERS: Final = ("gcc", "cc", "clang")
_LOW_DISK_BYTES: Final = 2**30  # chosen: a sweep's journals and one compiled simulator fit
_SIMULATORS: Final = Path(__file__).parent.parent / "simulators"
# Features by the extra that installs them; their packages are read from the package's metadata.
_EXTRAS: Final = {
    "rl": "agents of Stable-Baselines3",
    "marl": "PettingZoo, RLlib and multi-agent PPO",
    "cluster": "sweeps on Ray clusters",
    "evolution": "agents of pymoo",
    "data": "datasets for Minari and Croissant",
    "remote": "datasets, tables and exports at URLs (S3)",
    "hub": "datasets on the Hugging Face hub",
    "onnx": "networks from ONNX files",
    "cpu-record": "recording of instruction traces",
    "moe-record": "recording of a model's experts",
    "mcp": "server for coding agents",
    "openenv": "tasks as environments for language models",
    "docs": "the documentation site",
}
_PROGRAMS: Final = {
    "valgrind": (("valgrind",), "recording of memory traces", "valgrind"),
    "compiler": (_COMPILERS, "examples of external simulators in C", "gcc"),
    "chromium": (_CHROMIUM, "tests of pages in a browser", "chromium"),
}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """Optional part of ArchGym, and its requirements on this machine.

    Attributes:
      name: Extra or program.
      purpose: Work that needs it.
      found: Versions or paths of installed requirements, by name.
      missing: Names of missing requirements.
      remedy: Command that installs the missing ones, empty if none are missing.
    """

    name: str
    purpose: str
    found: Mapping[str, str]
    missing: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Installation:
    """This machine's installation of ArchGym.

    Attributes:
      versions: Versions of ArchGym, Python, the system and the required packages, by name.
      cores: Cores that this process may use.
      kernel_cache: Folder of compiled kernels.
      is_cache_private: False if no safe folder was found, so that each process compiles again.
      compiled: Simulators whose kernels are cached for these sources.
      free_bytes: Free space by folder: working folder, temporary folder, cache [bytes].
      features: Optional parts.
      problems: Problems of the core installation, one line each.
    """

    versions: Mapping[str, str]
    cores: int
    kernel_cache: Path
    is_cache_private: bool
    compiled: tuple[str, ...]
    free_bytes: Mapping[str, int]
    features: tuple[Feature, ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the installation as plain values for JSON."""
        return {**asdict(self), "kernel_cache": str(self.kernel_cache)}


def examine() -> Installation:
    """Return the required and optional parts of ArchGym on this machine.

    Packages are looked up by their metadata and not imported, so the answer takes a fraction of a
    second.
    """
    required, extras = _requirements()
    versions = {
        "archgym": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    problems = []
    for requirement in required:
        installed = _version(requirement.name)
        versions[requirement.name] = installed or "missing"
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            problems.append(
                f"{requirement} is needed; found {installed or 'nothing'}. "
                f"Install it with: pip install '{requirement}'"
            )
    roots = {name: cache_folder(_SIMULATORS / name) for name in _simulators()}
    folders = {path.parent for path in roots.values()}
    cache = min(folders)
    is_private = len(folders) == 1
    if not is_private:
        problems.append(
            "Compiled kernels are not kept between processes. "
            "Set ARCHGYM_CACHE_DIR to a folder that only you can write."
        )
    free = {
        str(folder): shutil.disk_usage(folder).free
        for folder in (Path.cwd(), Path(tempfile.gettempdir()), cache)
        if folder.is_dir()
    }
    problems += [
        f"{folder} has {n_bytes / 1e9:.2f} GB left. Free some space."
        for folder, n_bytes in free.items()
        if n_bytes < _LOW_DISK_BYTES
    ]
    return Installation(
        versions=versions,
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        kernel_cache=cache,
        is_cache_private=is_private,
        compiled=tuple(name for name, path in roots.items() if _is_compiled(name, path.parent)),
        free_bytes=free,
        features=tuple([_extra(name, needs) for name, needs in extras.items()] + _programs()),
        problems=tuple(problems),
    )


def _is_compiled(simulator: str, cache: Path) -> bool:
    """Return True if a kernel of a simulator's folder, or of one inside it, is cached."""
    sources = {path.parent for path in (_SIMULATORS / simulator).rglob("*.py")}
    return any(any((cache / cache_name(folder)).glob("*.nbi")) for folder in sources)


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """Return the required packages, and those of each extra, as the package's metadata has them."""
    required: list[Requirement] = []
    extras: dict[str, list[Requirement]] = {name: [] for name in _EXTRAS}
    try:
        lines = metadata("archgym").get_all("Requires-Dist") or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required.append(requirement)
            continue
        for name, needs in extras.items():
            if requirement.marker.evaluate({"extra": name}) and requirement.name != "archgym":
                needs.append(requirement)
    return required, {name: needs for name, needs in extras.items() if needs}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _simulators() -> list[str]:
    return sorted(path.parent.name for path in _SIMULATORS.glob("*/simulator.py"))


def _extra(name: str, needs: list[Requirement]) -> Feature:
    found = {need.name: installed for need in needs if (installed := _version(need.name))}
    missing = tuple(need.name for need in needs if need.name not in found)
    return Feature(
        name=name,
        purpose=_EXTRAS[name],
        found=found,
        missing=missing,
        remedy=f"{sys.executable} -m pip install 'archgym[{name}]'" if missing else "",
    )


def _programs() -> list[Feature]:
    features = []
    for name, (commands, purpose, package) in _PROGRAMS.items():
        paths = {command: path for command in commands if (path := shutil.which(command))}
        features.append(
            Feature(
                name=name,
                purpose=purpose,
                found=paths,
                missing=() if paths else (name,),
                remedy="" if paths else f"apt-get install {package}",
            )
        )
    return features
