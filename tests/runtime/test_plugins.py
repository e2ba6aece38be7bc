"""Tests of discovery by folder and by entry point."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from archgym.agent.agent import Agent, agent_class, agent_names
from archgym.errors import UnknownNameError
from archgym.evaluation.simulator import Simulator, simulator_class, simulator_names

AGENT = '''
import numpy as np
from archgym.agent.agent import AskTellAgent, Trials
from archgym.spaces.parameter import Integer

class Corner(AskTellAgent):
    """Asks for corners."""

    name = "corner"
    hyperparameters = (Integer(name="n", low=1, high=4, default=2, doc="Designs an ask."),)

    def __init__(self, space, *, seed, n=2):
        self.space, self.rng, self.n = space, np.random.default_rng(seed), n

    def ask(self):
        return self.rng.integers(2, size=(self.n, self.space.n_parameters)) * (self.space.sizes - 1)

    def tell(self, trials):
        pass
'''

LOAD = """
from archgym.agent.agent import agent_class
from archgym.errors import ArchGymError
try:
    print(agent_class({!r}))
except ArchGymError as error:
    print(error)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that looks as one where a person's package is installed."""
    (tmp_path / "people.py").write_text(AGENT)
    return tmp_path


def install(site: Path, entry_points: str, name: str = "people") -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))


def run(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    start = f"import sys; sys.path[:0] = [{str(site)!r}, {root!r}]\n"
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)


def test_shipped_agents_and_simulators_are_found() -> None:
    assert {"random", "genetic", "bayesian"} <= set(agent_names())
    assert "dram" in simulator_names()
    assert issubclass(agent_class("random"), Agent)
    assert issubclass(simulator_class("dram"), Simulator)


def test_names_are_sorted() -> None:
    assert list(agent_names()) == sorted(agent_names())
    assert list(simulator_names()) == sorted(simulator_names())


def test_unknown_names_offer_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown agent 'genetics'.*'genetic'"):
        agent_class("genetics")
    with pytest.raises(UnknownNameError, match=r"Unknown simulator 'drum'.*'dram'"):
        simulator_class("drum")


def test_finding_names_imports_none_of_them() -> None:
    code = (
        "import sys\n"
        "from archgym.agent.agent import agent_names\n"
        "from archgym.evaluation.simulator import simulator_names\n"
        "agent_names(); simulator_names()\n"
        "parts = ('archgym.agents.', 'archgym.simulators.')\n"
        "print([m for m in sys.modules if m.startswith(parts)])"
    )

    assert run(Path("/nonexistent"), code).stdout.strip() == "[]"


def test_agent_of_another_package_is_found_and_conforms(site: Path) -> None:
    install(site, "[archgym.agents]\ncorner = people:Corner\n")

    done = run(
        site,
        "from archgym.agent.agent import agent_names, agent_class\n"
        "from archgym.testing import check_agent\n"
        "assert 'corner' in agent_names()\n"
        "check_agent(agent_class('corner'), n_designs=20)\n"
        "print(agent_class('corner').__module__)",
    )

    assert done.stdout.strip() == "people", done.stderr


def test_simulator_of_another_package_is_found(site: Path) -> None:
    install(site, "[archgym.simulators]\nproving = archgym.testing.proving:ProvingSimulator\n")

    done = run(
        site,
        "from archgym.evaluation.simulator import simulator_names\n"
        "from archgym.tasks.task import Task\n"
        "assert 'proving' in simulator_names()\n"
        "print(Task.make('proving', 'near', space='tiny').id)",
    )

    assert done.stdout.strip() == "proving/tiny/near/low-cost-v0", done.stderr


def test_name_that_is_taken_is_refused_and_no_other(site: Path) -> None:
    install(site, "[archgym.agents]\ngenetic = people:Corner\n")

    done = run(site, LOAD.format("genetic") + LOAD.format("random"))

    assert "must be registered once; 'genetic'" in done.stdout, done.stderr
    assert "RandomAgent" in done.stdout


def test_two_packages_with_one_name_are_refused(site: Path) -> None:
    install(site, "[archgym.agents]\ncorner = people:Corner\n")
    install(site, "[archgym.agents]\ncorner = people:Other\n", "others")

    done = run(site, LOAD.format("corner"))

    assert "must be registered once; 'corner'" in done.stdout, done.stderr


@pytest.mark.parametrize(("group", "kind"), [("agents", "agent"), ("simulators", "simulator")])
def test_entry_point_that_is_not_named_as_its_class_is_refused(
    site: Path, group: str, kind: str
) -> None:
    target = "people:Corner" if kind == "agent" else "archgym.testing.proving:ProvingSimulator"
    install(site, f"[archgym.{group}]\nabc = {target}\n")

    home = {"agent": "agent.agent", "simulator": "evaluation.simulator"}[kind]
    load = LOAD.replace("agent_class", f"{kind}_class").replace("agent.agent", home)

    done = run(site, load.format("abc"))

    assert "'abc' in 'archgym." in done.stdout, done.stderr
    assert "must be named as its class is" in done.stdout


@pytest.mark.parametrize("fault", ["raise RuntimeError('boom')", "import sys; sys.exit(3)"])
def test_package_that_breaks_when_imported_is_named(site: Path, fault: str) -> None:
    (site / "weird.py").write_text(fault)
    install(site, "[archgym.agents]\nbad = weird:Corner\n")

    done = run(site, LOAD.format("bad"))

    assert "Entry point 'bad' in 'archgym.agents'" in done.stdout, done.stderr
    assert "'weird:Corner' cannot be loaded" in done.stdout


def test_agents_are_listed_though_another_is_broken_and_one_clashes(site: Path) -> None:
    (site / "weird.py").write_text("raise RuntimeError('boom')")
    install(site, "[archgym.agents]\nbad = weird:Corner\nrandom = people:Corner\n")

    done = run(site, "from archgym.cli.app import run; run(['list', 'agents'])")

    assert done.returncode == 0, done.stderr
    assert "genetic" in done.stdout
    warnings = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in warnings] == ["warning", "warning"]
    assert "'weird:Corner' cannot be loaded: RuntimeError: boom" in warnings[0]
    assert "must be registered once; 'random'" in warnings[1]


@pytest.mark.parametrize(
    "target",
    ["people:np", "people:Missing", "absent:Corner", "archgym.evaluation.simulator:Simulator"],
)
def test_entry_point_that_names_no_agent_is_an_error_of_ours(site: Path, target: str) -> None:
    install(site, f"[archgym.agents]\nbad = {target}\n")

    done = run(site, LOAD.format("bad"))

    assert "Entry point 'bad'" in done.stdout, done.stderr


def test_broken_package_does_not_hide_the_others(site: Path) -> None:
    install(site, "[archgym.agents]\nbad = absent:Corner\n")

    done = run(
        site,
        "from archgym.agent.agent import agent_names, agent_class\n"
        "print('bad' in agent_names(), agent_class('random').name)",
    )

    assert done.stdout.split() == ["True", "random"], done.stderr
