"""Tests of declarations."""

import json
from typing import Any

import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.specification import Declaration, WorkloadFacts
from tests.toys import ToySimulator


def toy_declaration() -> Declaration:
    toy = ToySimulator()
    return Declaration.of(toy, "toy", {"light": toy.workload("light")})


def test_declaration_comes_back_from_json_as_it_was() -> None:
    declaration = toy_declaration()

    back = Declaration.from_json(json.loads(json.dumps(declaration.to_json())))

    assert back == declaration
    assert back.reasons == ToySimulator().spec.reasons


def test_declaration_says_what_differs_from_another() -> None:
    declaration = toy_declaration()
    other = Declaration.from_json({**declaration.to_json(), "version": 7})

    assert declaration.difference(other) == "version"
    assert declaration.difference(toy_declaration()) is None


def test_workload_from_a_file_is_known_by_its_path_first() -> None:
    workload = WorkloadFacts("mine", "ab", {"length": (3, "requests")}, "/somewhere/mine.txt")

    assert workload.names == ("/somewhere/mine.txt", "mine")
    assert workload.to_json()["source"] == "/somewhere/mine.txt"


@pytest.mark.parametrize(
    "change",
    [
        {"version": True},
        {"version": -1},
        {"options": {"a": 1}},
        {"options": []},
        {"metrics": []},
        {"metrics": [{"name": "x"}]},
        {"metrics": 7},
        {"objectives": []},
        {"objectives": [{"name": "o", "terms": [{"metric": "no", "goal": "minimise"}]}]},
        {"default_objective": "none"},
        {"groups": {"core": ["no such parameter"]}},
        {"space": None},
        {"workloads": []},
        {"workloads": [{"name": "w", "digest": 1, "facts": {}}]},
        {"workloads": [{"name": "w", "digest": "1", "facts": {"a": [True, ""]}}]},
        {"workloads": [{"name": "w", "digest": "1", "facts": {"a": 1}}]},
    ],
)
def test_other_json_is_refused_in_words(change: dict[str, Any]) -> None:
    data = {**toy_declaration().to_json(), **change}

    with pytest.raises(InvalidArgumentError, match="A declaration must be"):
        Declaration.from_json(data)


@pytest.mark.parametrize("data", [None, 3, [], {}, "text"])
def test_what_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="A declaration must be"):
        Declaration.from_json(data)
