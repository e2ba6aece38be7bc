"""Hyperparameters are declared once, in the annotations of a constructor."""

from typing import Annotated, Any

import pytest

from archgym import AskTellAgent, DesignSpace, Integer
from archgym.agent.agent import Within, checked_hyperparameters, declared_hyperparameters
from archgym.errors import InvalidArgumentError, InvalidSpaceError
from archgym.spaces.parameter import Categorical, Real

Ants = Annotated[int, Integer(name="ants", low=1, high=64, doc="Designs an ask."), Within(1, 999)]


class Colony:
    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        ants: Ants = 16,
        mood: Annotated[str, Categorical(name="mood", choices=("calm", "wild"))] = "calm",
        share: Annotated[float, Real(name="share", low=0.0, high=1.0, count=11)] = 0.5,
    ) -> None:
        self.values = checked_hyperparameters(type(self), locals())


def made(**values: Any) -> dict[str, Any]:
    return Colony(DesignSpace("one", [Integer(name="p", low=1, high=2)]), seed=0, **values).values


def test_ranges_come_from_the_annotations_and_defaults_from_the_arguments() -> None:
    ants, mood, share = declared_hyperparameters(Colony)

    assert ants == Integer(name="ants", low=1, high=64, default=16, doc="Designs an ask.")
    assert (mood.name, mood.default, share.default) == ("mood", "calm", 0.5)


def test_agent_publishes_what_its_constructor_declares() -> None:
    class Own(AskTellAgent):
        def __init__(self, space: DesignSpace, *, seed: int, ants: Ants = 4) -> None: ...

    class Other(Own):
        def __init__(self, space: DesignSpace, *, seed: int, ants: Ants = 8) -> None: ...

    class Plain(AskTellAgent):
        hyperparameters = (Integer(name="ants", low=1, high=2, default=1),)

        def __init__(self, space: DesignSpace, *, seed: int, ants: int = 1) -> None: ...

    assert [kind.hyperparameters[0].default for kind in (Own, Other, Plain)] == [4, 8, 1]


def test_annotations_may_be_texts() -> None:
    names = {"Annotated": Annotated, "Integer": Integer}
    code = "def make(*, ants: \"Annotated[int, Integer(name='ants', low=1, high=9)]\" = 3): ..."
    exec(code, names)

    assert declared_hyperparameters(names["make"])[0].default == 3  # type: ignore[arg-type]  # by exec


def test_value_is_taken_within_its_limits_which_may_be_wider_than_the_range() -> None:
    assert made(ants=999, share=1) == {"ants": 999, "mood": "calm", "share": 1.0}
    for values, words in (
        ({"ants": 1000}, "`ants` must be a whole number from 1 to 999; got 1000"),
        ({"ants": 2.0}, "`ants` must be a whole number"),
        ({"ants": True}, "`ants` must be a whole number"),
        ({"share": 1.5}, "`share` must be a number from 0.0 to 1.0; got 1.5"),
        ({"mood": "tame"}, "`mood` must be one of calm, wild; got 'tame'"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            made(**values)


def test_range_of_another_name_or_with_a_default_is_refused() -> None:
    def renamed(*, bees: Ants = 3) -> None: ...

    def twice(
        *, ants: Annotated[int, Integer(name="ants", low=1, high=9, default=3)] = 3
    ) -> None: ...

    for constructor in (renamed, twice):
        with pytest.raises(InvalidArgumentError, match="its name and no default of its own"):
            declared_hyperparameters(constructor)


def test_default_outside_its_range_or_none_is_refused() -> None:
    def outside(*, ants: Ants = 65) -> None: ...

    def without(*, ants: Ants) -> None: ...

    with pytest.raises(InvalidSpaceError, match="ants"):
        declared_hyperparameters(outside)
    with pytest.raises(InvalidArgumentError, match="must have a default"):
        declared_hyperparameters(without)
