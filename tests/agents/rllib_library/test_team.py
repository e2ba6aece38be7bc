import numpy as np
import pytest

pytest.importorskip("pettingzoo")

from archgym.agents._rllib.team import Team
from archgym.envs import parallel
from archgym.tasks.task import Task
from archgym.testing.proving import proving_tasks

MIXED, MAPPING, TINY = proving_tasks()


def team(
    task: Task, groups: str = "parameter", observes: str = "all", central: bool = True
) -> Team:
    return Team.make(task, groups=groups, observes=observes, is_central=central)


@pytest.mark.parametrize("task", [MIXED, MAPPING, TINY], ids=["mixed", "mapping", "tiny"])
@pytest.mark.parametrize("observes", ["all", "own"])
def test_team_is_the_parallel_environments(task: Task, observes: str) -> None:
    env = parallel(task, "parameter", observes=observes)
    made = team(task, observes=observes)
    observations, _ = env.reset()
    rng = np.random.default_rng(3)

    actions = rng.integers(made.sizes, size=(5, *made.sizes.shape))
    designs = [env._episodes.choices.compose(picks[None])[0] for picks in made.joined(actions)]

    assert made.agents == tuple(env.possible_agents)
    for place, agent in enumerate(made.agents):
        seen = observations[agent]
        assert made.actor_inputs[place, : len(seen)].tolist() == seen.tolist()
        assert not made.actor_inputs[place, len(seen) :].any()
    for action, design in zip(actions, designs, strict=True):
        env.reset()
        own = {
            agent: action[place, : len(made.choices[place])]
            if env.action_space(agent).shape
            else action[place, 0]
            for place, agent in enumerate(made.agents)
        }
        infos = env.step(own)[4]
        assert infos[made.agents[0]]["indices"].tolist() == design.tolist()


def test_a_central_critic_sees_what_the_others_choose_and_not_its_own_agents_choice() -> None:
    made = team(MIXED)
    base = np.zeros((1, made.n_choices), dtype=np.int64)
    banks = made.choices[made.agents.index("banks")][0]
    other = base.copy()
    other[0, banks] = 3

    before, after = made.critic_inputs(base)[0], made.critic_inputs(other)[0]

    for place, agent in enumerate(made.agents):
        assert (before[place] == after[place]).all() == (agent == "banks")


def test_an_own_critic_sees_what_its_actor_does() -> None:
    made = team(MIXED, observes="own", central=False)
    picks = np.zeros((3, made.n_choices), dtype=np.int64)

    assert made.n_critic == made.actor_inputs.shape[1]
    assert (made.critic_inputs(picks) == made.actor_inputs).all()


def test_subsystems_are_the_simulators_and_one_where_it_declares_none() -> None:
    dram = Task.make("dram")

    assert team(dram, "subsystem").agents == tuple(parallel(dram, "subsystem").possible_agents)
    assert team(MAPPING, "subsystem").parameters == (("loops", "tiles", "fixed"),)
