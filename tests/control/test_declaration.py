"""Control that a simulator declares by itself, and nothing in the package that names one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import archgym
from archgym.control.declaration import Control, controls
from archgym.control.tasks import task_names
from archgym.errors import InvalidArgumentError

PACKAGE = Path(archgym.__file__).parent
TOY = """
from typing import Annotated
import numpy as np
from archgym.control.declaration import Control, RuleView
from archgym.control.runs import Counter, Part, Run
from archgym.control.tasks import ControlTask, episodes_of, seed_of
from archgym.evaluation.options import Option

class ToyRun(Run):
    switchable = {"side": "Takes effect at once."}
    counters = (Counter(name="phase", low=0.0, high=1.0, doc="Side that is cheap."),)

    def __init__(self, seed, n):
        self._run = np.zeros(1, dtype=np.int64)
        self._sides = np.repeat(np.random.default_rng(seed).integers(2, size=n // 5 + 1), 5)[:n]

    @property
    def is_over(self):
        return bool(self._run[0] >= len(self._sides))

    def _choice(self, settings):
        return settings["side"]

    def _advance(self, choices, until):
        sides = self._sides[self._run[0] : until]
        self._run[0] += len(sides)
        cost = float((1 + (sides != choices[0])).sum())
        return Part(np.array([float(len(sides))]), np.array([cost]), np.array([[float(sides[-1])]]))

    def _finish(self):
        return {"steps": float(self._run[0])}

def make(*, steps: Annotated[int, Option("Steps of an episode.", low=10, high=100)] = 60):
    def begin(episode):
        split, first, number = seed_of(episode)
        return ToyRun(first + number, steps)

    return ControlTask(
        name="toy-sides", doc="Two sides.", begin=begin, actions=({"side": 0}, {"side": 1}),
        epoch=1, cost="cost_per_step", splits=episodes_of(4, 4),
        by_counters={"hand": lambda counters, previous: int(counters["phase"])},
    )

RULE = (
    '"Follows the side."\\nDOMAIN = "toy-control"\\n\\n\\n'
    "def choose(phase, previous):\\n    return 1 if phase > 128 else 0\\n"
)
CONTROL = Control(
    simulator="toy", tasks={"toy-sides": make},
    rules=RuleView(doc="The side.", seen=("phase",), templates={"hand": RULE}, n_actions=2),
)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that looks as one where another distribution is installed."""
    (tmp_path / "toy.py").write_text(TOY)
    info = tmp_path / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archgym.control]\ntoy = toy:CONTROL\n")
    return tmp_path


def run(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path[:0] = [{str(site)!r}, {str(PACKAGE.parent)!r}]\n"
    return subprocess.run(
        [sys.executable, "-c", path + code], capture_output=True, text=True, cwd=site
    )


@pytest.mark.slow
def test_simulator_of_another_distribution_has_tasks_environment_and_rules(site: Path) -> None:
    ran = run(
        site,
        "import gymnasium, archgym\n"
        "env = gymnasium.make('archgym/ToyControl-v0')\n"
        "print(env.reset(seed=0)[0].shape, env.unwrapped.task.name)\n"
        "from archgym.cli.app import run\n"
        "for words in ('rule new side.py --domain toy-control --template hand',\n"
        "    'control compare hand side.py --task toy-sides:steps=40 --episodes 2',\n"
        "    'control compare hand --task toy-sides --episodes 2 --cost cost_per_step',\n"
        "    'rule compare side.py --trace train-0 --held-out held-out-0'):\n"
        "    try: run(words.split())\n"
        "    except SystemExit as ended: assert not ended.code\n",
    )

    assert ran.returncode == 0, ran.stderr
    assert "(4,) toy-sides" in ran.stdout
    saved = {name: re.search(rf"{name} +\S+ +(\S+)", ran.stdout) for name in ("hand", "side.py")}
    assert all(found and float(found[1]) > 0.0 for found in saved.values()), ran.stdout


def test_rule_domain_of_another_distribution_is_found_and_a_broken_one_is_left_out(
    site: Path,
) -> None:
    (site / "toy.py").write_text(
        "from dataclasses import replace\n"
        "from archgym.simulators.translation.rules.domain import TLB\n"
        "OWN, WRONG = replace(TLB, name='own-tlb'), 3\n"
    )
    named = "[archgym.rules]\nown = toy:OWN\nwrong = toy:WRONG\n"
    (site / "toy-1.0.dist-info" / "entry_points.txt").write_text(named)

    ran = run(site, "from archgym.rules.domain import domain_names; print(domain_names())")

    assert "'own-tlb'" in ran.stdout
    assert "Rule domain 'toy:WRONG' must be a new `Domain`" in ran.stderr


def test_broken_declaration_of_another_distribution_is_named_and_left_out(site: Path) -> None:
    (site / "toy.py").write_text("CONTROL = 3\n")
    ran = run(site, "from archgym.control.tasks import task_names; print(len(task_names()))")

    assert int(ran.stdout) == len(task_names())
    assert "Control 'toy:CONTROL' must be a new `Control`" in ran.stderr


def test_names_of_tasks_begin_with_the_simulators() -> None:
    for name, control in controls().items():
        assert control.simulator == name
        assert (PACKAGE / "simulators" / name / "control" / "tasks.py").is_file()
    with pytest.raises(InvalidArgumentError, match="that begin with 'toy-'; got none"):
        Control(simulator="toy", tasks={})


def test_package_of_control_names_no_simulator() -> None:
    names = {path.parent.name for path in PACKAGE.glob("simulators/*/simulator.py")}
    text = "".join(path.read_text() for path in (PACKAGE / "control").rglob("*.py"))

    found = {name for name in names if re.search(rf"(?i)(?<!\.)\b{name}\b|[\"']{name}-", text)}
    assert found == set()
