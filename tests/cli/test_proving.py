"""Command `prove`."""

import re
import shlex
from typing import Any

import numpy as np
import pytest

import archgym as archgym_package
from archgym.cli.commands.decide import _write_proof
from archgym.studies.study import Study
from archgym.tables import Proof, build_table, prove
from archgym.tasks.task import Task
from tests.cli.conftest import Archgym
from tests.toys import ToySimulator


def test_better_design_than_that_of_a_study_is_found_and_proven(archgym: Archgym) -> None:
    task = Task.make("accelerator", space="mapping-table", objective="edp")
    with Study.create("small", task, "random", seed=1, budget=30) as study:
        study.run()

    ran = archgym("prove", "small")
    found = archgym("prove", "small", "--json").json

    assert ran.code == 0
    assert "is proven: no design of" in ran.out
    assert "The proof found a better design than the study's" in ran.out
    assert "partial designs were bounded" in ran.out
    assert found["optimal"]
    assert found["reward"] > found["study_reward"]
    assert found["task_digest"] == task.digest


def test_study_that_a_simulator_does_not_bound_is_proven_by_all_designs(archgym: Archgym) -> None:
    archgym("search", "plugin", "--budget", "400", "--agent", "genetic", "--out", "study")

    ran = archgym("prove", "study")
    table = archgym("table", "build", "plugin", "--out", "t.parquet")
    looked_up = archgym("prove", "study", "--table", "t.parquet")

    assert (ran.code, table.code, looked_up.code) == (0, 0, 0)
    assert "No bounds were used" in ran.out
    assert "or the task is on a table: 2,376 designs evaluated" in " ".join(ran.out.split())
    assert [line for line in ran.out.splitlines() if "is proven" in line] == [
        line for line in looked_up.out.splitlines() if "is proven" in line
    ]


def test_proof_that_stops_says_so_and_exits_with_1(archgym: Archgym) -> None:
    task = Task.make("soc", space="small", objective="energy")
    with Study.create("system", task, "random", seed=1, budget=30) as study:
        study.run()

    ran = archgym("prove", "system", "--seconds", "0.3")

    assert ran.code == 1
    assert "no design is more than" in ran.out
    assert "To continue for longer: --seconds." in ran.out


def test_study_of_a_function_and_a_table_of_another_simulator_are_told(archgym: Archgym) -> None:
    @archgym_package.simulator(
        space=[archgym_package.Integer(name="n", low=1, high=4)], metrics={"t": "minimise"}
    )
    def own(design: Any) -> dict[str, float]:
        return {"t": 1.0 / design["n"]}

    task = Task.make(own)
    with Study.create("own", task, "random", seed=1, budget=4) as study:
        study.run()
    build_table(task, "own.parquet")
    archgym("search", "plugin", "--budget", "4", "--agent", "random", "--out", "plugin")

    for ran in (archgym("prove", "own"), archgym("table", "verify", "own.parquet")):
        # Before: "Unknown simulator 'own'".
        assert ran.code == 1
        assert "the Python function 'own' (or " in ran.err
    other = archgym("prove", "plugin", "--table", "own.parquet")
    assert "must be of the study's simulator, 'plugin'; own.parquet is of 'own'." in other.err
    assert archgym("prove", "own", "--table", "own.parquet").code == 0


def test_gap_to_a_design_that_misses_a_limit_has_no_percentage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = Task.make(ToySimulator(), "light", subject_to="latency_ns <= 50")
    designs = next(iter(task.space.enumerate(chunk=64)))
    over = designs[int(np.argmin(task.evaluate(designs).reward))]
    limited = Proof("bounds", -20.2, over, -4.6, 9, 9, 0.1)

    _write_proof(limited, task, -20.2)

    said = " ".join(capsys.readouterr().out.split())
    assert "the best known misses latency_ns" in said
    assert "a design that meets all limits may have reward up to -4.6." in said
    assert limited.to_json(task)["gap_percent"] is None


def test_better_design_of_a_proof_differs_in_its_digits_and_has_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = Task.make("dram", "stream")
    found = Proof("bounds", 1.633030001, task.space.default_indices, 1.633030001, 1, 1, 0.1)

    _write_proof(found, task, 1.63303)

    said = capsys.readouterr().out
    assert "than the study's 1.63303, reward 1.633030001" in said
    assert "archgym evaluate dram/" in said


def test_space_that_is_too_large_to_enumerate_is_not_said_to_need_more_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    space = archgym_package.DesignSpace(
        "large", [archgym_package.Integer(name=f"n{k}", low=1, high=10**3) for k in range(8)]
    )

    @archgym_package.simulator(space=space, metrics={"t": "minimise"})
    def large(design: Any) -> dict[str, float]:
        return {"t": float(design["n0"])}

    task = Task.make(large)

    _write_proof(prove(task, task.space.default_indices), task, None)

    said = " ".join(capsys.readouterr().out.split())
    assert "1.00e+24 combinations are too many to evaluate." in said
    assert "All designs with 7 values of the best known design held can be evaluated" in said
    assert "1 design evaluated in less than 1 s" in said
    # Before: "To continue for longer: --seconds, or --table FILE."
    assert "continue for longer" not in said


@pytest.mark.slow
def test_unfinished_proof_says_what_is_left_and_how_to_prove_a_part(archgym: Archgym) -> None:
    archgym("search", "dram", "-w", "stream", "-n", "4", "-a", "random", "--out", "study")

    ran = archgym("prove", "study", "--seconds", "2")

    said = " ".join(ran.out.split())
    # Before: "nothing is known about the designs that are left", and no way on.
    assert "any design that is left may be better, since no bound on them is known" in said
    assert re.search(r"[\d,]+ designs are left, which take about [\d.]+ \w+ to evaluate", said)
    assert "values of the best known design held can be evaluated in 2 s:" in said
    starts = ("archgym search", "archgym prove")
    search, prove_part = [line for line in ran.out.splitlines() if line.startswith(starts)]
    assert archgym(*shlex.split(search)[1:]).code == 0
    assert archgym(*shlex.split(prove_part)[1:], "--seconds", "60").code == 0
