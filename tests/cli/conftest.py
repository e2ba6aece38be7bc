"""Commands run in this process, with a simulator from another package."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archgym.cli.app import run
from archgym.runtime import plugins

ENTRY_POINTS = """
[archgym.simulators]
plugin = tests.cli.plugin:PluginSimulator
[archgym.agents]
unreplayable = tests.toys:UnreplayableAgent
"""


@dataclass(frozen=True)
class Ran:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote, as JSON without NaN."""
        return json.loads(self.out, parse_constant=pytest.fail)


Archgym = Callable[..., Ran]


def write_plugin(folder: Path) -> Path:
    """A folder that, on the path, registers the simulator of `tests.cli.plugin`."""
    info = folder / "archgym_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: archgym-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the simulator, and runs in an empty folder."""
    monkeypatch.syspath_prepend(write_plugin(tmp_path / "site"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    plugins.registered.cache_clear()
    yield
    plugins.registered.cache_clear()


@pytest.fixture
def archgym(capfd: pytest.CaptureFixture[str]) -> Archgym:
    """Runs a command: `archgym("search", "plugin")`."""

    def call(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        written = capfd.readouterr()
        return Ran(int(ended.value.code or 0), written.out, written.err)

    return call


@pytest.fixture
def study(archgym: Archgym) -> Path:
    """A small finished study."""
    ran = archgym("search", "plugin", "-a", "random", "-n", "12", "--out", "study")
    assert ran.code == 0, ran.err
    return Path("study")
