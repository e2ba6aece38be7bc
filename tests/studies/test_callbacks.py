from pathlib import Path

import pytest

from archgym.evaluation.trials import Trials
from archgym.studies.study import Study
from tests.toys import toy_task


class Collecting:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.rewards: list[float] = []
        self.counts: list[int] = []

    def on_trials(self, study: Study, trials: Trials) -> None:
        self.rewards += trials.reward.tolist()
        self.counts.append(study.evaluations)
        assert study.evaluations == len(self.rewards) or study.evaluations > 20


def new(folder: Path, budget: int = 20) -> Study:
    return Study.create(folder, toy_task(), "genetic", seed=2, budget=budget)


def test_callback_is_told_of_every_evaluation_once(tmp_path: Path) -> None:
    told = Collecting()
    study = new(tmp_path / "a")
    study.add_callback(told)
    log = study.run().log

    assert told.rewards == log.records.reward[log.is_evaluation].tolist()
    assert told.counts[-1] == 20
    assert study.best_reward == log.curve()[-1]


def test_callback_is_not_told_of_what_is_replayed(tmp_path: Path) -> None:
    new(tmp_path / "a").run()
    told = Collecting()
    study = Study.open(tmp_path / "a", toy_task())
    study.add_callback(told)
    log = study.run(budget=30).log

    assert told.rewards == log.records.reward[log.is_evaluation].tolist()[20:]


def test_callback_is_told_of_what_is_told(tmp_path: Path) -> None:
    told = Collecting()
    study = new(tmp_path / "a", 8)
    study.add_callback(told)
    while designs := study.ask(3):
        for design in designs:
            study.tell(design, failure="the board is off")

    assert told.rewards == [-25.0] * 8


def test_error_of_a_callback_loses_no_evaluation(tmp_path: Path) -> None:
    class Broken:
        def on_trials(self, study: Study, trials: Trials) -> None:
            raise RuntimeError("no connection")

    study = new(tmp_path / "a")
    study.add_callback(Broken())
    with pytest.raises(RuntimeError, match="no connection"):
        study.run()

    new(tmp_path / "whole").run()
    Study.open(tmp_path / "a", toy_task()).run()
    paths = [tmp_path / name / "journal.jsonl" for name in ("a", "whole")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
