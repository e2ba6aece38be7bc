"""Failures of a user's program stand in every view of its study."""

import sys
from typing import Any

import pytest

from archgym.cli.views.study import write_study
from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.spec import SimulatorSpec
from archgym.report.diagnostics import health
from archgym.report.evidence import read_evidence
from archgym.report.study_summary import StudySummary
from archgym.searching import search
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.studies.snapshot import StudyLog, read_study

CODE = """
import sys, time
x = {x}
if x == 2: sys.exit("no license")
if x in (3, 4): print("nan")
elif x == 5: time.sleep(60)
else: print(x)
"""


class Broken(ExternalSimulator):
    spec = SimulatorSpec(
        name="broken",
        version=0,
        space=DesignSpace("default", [Integer(name="x", low=1, high=6)]),
        metrics=(MetricSpec("ns", "ns", "minimise", 0.1, "Time."),),
        objectives={"fast": Objective("fast", (Term("ns", "minimise"),))},
        default_objective="fast",
    )
    time_limit_s = 0.5

    def command(self, design: Any, workload: Any) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", CODE.format(x=design["x"])]

    def parse(self, output: str, design: Any) -> dict[str, float]:
        return {"ns": float(output)}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> StudyLog:
    folder = tmp_path_factory.mktemp("broken") / "study"
    search(Broken(), budget=6, agent="random", folder=folder)
    return read_study(folder)


NEEDED = ("no license", "exit code 1", "took longer than 0.5 s", "nan")


def test_failures_alike_stand_together(log: StudyLog) -> None:
    assert sorted(len(each.evaluations) for each in log.failures()) == [1, 1, 2]


def test_failures_are_in_the_text_of_a_study(
    log: StudyLog, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(StudySummary.read(log))

    said = " ".join(capsys.readouterr().out.split())
    assert [text for text in NEEDED if text not in said] == []


def test_failures_are_in_the_json_and_the_data_frame_of_a_study(log: StudyLog) -> None:
    json, frame = StudySummary.read(log).to_json()["failures"], log.to_dataframe()

    for said in (" ".join(each["error"] for each in json), " ".join(frame["reason"])):
        assert [text for text in NEEDED if text not in said] == []


def test_failures_are_in_reports(log: StudyLog) -> None:
    (task,) = read_evidence([log.folder]).tasks

    said = " ".join(text for _, text in health(task, None))
    assert [text for text in NEEDED if text not in said] == []
