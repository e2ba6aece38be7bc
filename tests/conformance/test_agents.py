"""Every agent that is found passes the suite."""

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from archgym.agent.agent import Agent, agent_class, agent_names, make_agent
from archgym.errors import MissingExtraError
from archgym.testing import check_agent, proving_tasks
from tests.agents.small import FOREST, PORTFOLIO, SMALL, TEAM


def _skip_where_extra_is_left_out(kind: type[Agent]) -> None:
    """Skips an agent that needs an extra which `archgym[all]` leaves out, where it is absent."""
    try:
        make_agent(kind, proving_tasks()[0].space, 0, {})
    except MissingExtraError as error:
        settings = ConfigParser()
        settings.read(Path(__file__).parents[2] / "setup.cfg")
        every = settings["options.extras_require"]["all"]
        missing = re.findall(r"archgym\[(.+?)\]", str(error))
        if missing[0] in re.split(r"[\[\],]", every):
            raise
        pytest.skip(f"{kind.name}: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("name", agent_names())
def test_agent_conforms(name: str) -> None:
    kind: type[Agent] = agent_class(name)
    _skip_where_extra_is_left_out(kind)

    # Learners with few designs an update, or they would be through before they have learned.
    quick = {**SMALL, "multi_agent_ppo": TEAM, "auto": PORTFOLIO, "extra_trees": FOREST}
    # Models cost most of the time; after ten designs they propose, and networks learn every eight.
    has_model = name in (*quick, "few", "bayesian", "multi_objective_bayesian")
    check_agent(kind, n_designs=18 if has_model else 40, hyperparameters=quick.get(name))


@pytest.mark.parametrize("name", agent_names())
def test_agent_is_named_as_its_file(name: str) -> None:
    kind: type[Agent] = agent_class(name)

    assert kind.name == name


def test_listing_agents_imports_nothing_heavy() -> None:
    code = (
        "import sys, archgym.agent.agent as d; [d.agent_class(n) for n in d.agent_names()]; "
        "print(sorted({'optuna', 'torch', 'ray', 'sklearn', 'pandas'} & set(sys.modules)))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"
