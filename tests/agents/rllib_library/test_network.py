from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from archgym.agents._rllib.network import TeamNetwork, drawn, log_probability

# Two agents: one chooses among 3 and among 2, the other among 5 once.
SIZES = ((3, 2), (5, 1))


def network(is_shared: bool) -> TeamNetwork:
    torch.manual_seed(1)
    return TeamNetwork(SIZES, 4, 6, is_shared=is_shared, width=8, layers=2)


@pytest.mark.parametrize("is_shared", [False, True])
def test_at_first_each_agents_own_options_are_equally_likely_and_no_others(
    is_shared: bool,
) -> None:
    logits = network(is_shared).logits(torch.randn(7, 2, 4))

    odds = torch.softmax(logits, dim=-1)[3]
    thirds, halves, fifths = [1 / 3] * 3 + [0, 0], [0.5, 0.5, 0, 0, 0], [0.2] * 5
    expected = torch.tensor([[thirds, halves], [fifths, [1, 0, 0, 0, 0]]])
    torch.testing.assert_close(odds, expected)


@pytest.mark.parametrize("is_shared", [False, True])
def test_independent_networks_share_nothing_and_shared_ones_all(is_shared: bool) -> None:
    team = network(is_shared)
    torch.nn.init.ones_(cast(torch.Tensor, team.actor[-1].weight))

    weighted = team.logits(torch.ones(1, 2, 4))[:, 0, 0, :2].mul(torch.tensor([1.0, 2.0]))
    weighted.sum().backward()  # type: ignore[no-untyped-call]  # torch's
    team.values(torch.ones(1, 2, 6))[:, 0].sum().backward()  # type: ignore[no-untyped-call]

    for weight in team.parameters():
        assert weight.grad is not None
        assert weight.grad[0].any()
        assert len(weight) == (1 if is_shared else 2)
        if not is_shared:
            assert not weight.grad[1].any()


def test_a_shared_network_is_told_for_whom_it_acts() -> None:
    team = network(is_shared=True)
    same = torch.ones(1, 2, 6)

    values = team.values(same)

    assert values[0, 0] != values[0, 1]


def test_log_probability_is_that_of_independent_choices() -> None:
    logits = torch.randn(6, 2, 3)
    actions = torch.randint(3, (6, 2))

    choices: Any = torch.distributions.Categorical(logits=logits)
    expected = choices.log_prob(actions).sum(dim=-1)
    torch.testing.assert_close(log_probability(logits, actions), expected)


def test_draws_come_as_often_as_their_odds() -> None:
    odds = np.array([[0.5, 0.3, 0.2], [0.1, 0.0, 0.9]])
    with np.errstate(divide="ignore"):
        logits = np.log(odds)

    draws = drawn(logits, 20_000, np.random.default_rng(0))

    shares = [[np.mean(draws[:, slot] == option) for option in range(3)] for slot in range(2)]
    # Four standard deviations of a share of one half are 0.014.
    assert np.abs(np.array(shares) - odds).max() < 0.014
    assert shares[1][1] == 0
