"""Programs in any language, and objective functions of Optuna, have equal scores."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archgym.agent.agent import own_agent
from archgym.bench import (
    bench_plan,
    bench_task,
    optuna_constraints,
    optuna_objective,
    read_bench_report,
    run_bench,
    run_program,
    run_programs,
    verify_bench,
)
from archgym.envs.design import DesignEnv
from archgym.errors import ArchGymError, InvalidArgumentError, MissingProgramError
from archgym.evaluation.function import FunctionSimulator
from archgym.spaces.parameter import Integer
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from experiments.leaderboard import page

TASK = "soc-small-edp"
ROOT = Path(__file__).resolve().parent.parent.parent
CLIENT = """
import json, os, random, sys
description = json.loads(sys.stdin.readline())
rng = random.Random(int(os.environ["ARCHGYM_SEED"]))
best, reward = description["default"], None
while True:
    design = list(best)
    place = rng.randrange(len(design))
    design[place] = rng.randrange(description["sizes"][place])
    print(json.dumps({"indices": design}), flush=True)
    answer = json.loads(sys.stdin.readline())
    if "end" in answer:
        break
    if reward is None or answer["reward"] > reward:
        best, reward = design, answer["reward"]
"""


def client(folder: Path, text: str = CLIENT) -> str:
    """A command that runs a program."""
    path = folder / "client.py"
    path.write_text(text)
    return f"{sys.executable} {path}"


def test_program_search_has_the_scores_of_python_and_gymnasium(tmp_path: Path) -> None:
    task = bench_task(TASK).plan.make()

    runs = run_program(client(tmp_path), [bench_task(TASK)], tmp_path / "out", 2, 12)

    assert [(run.seed, run.evaluations, run.status) for run in runs] == [(0, 12, 0), (1, 12, 0)]
    env = DesignEnv(task)
    for run in runs:
        log = read_study(run.folder)
        designs = log.records.indices[log.is_evaluation]
        rewards = log.records.reward[log.is_evaluation]
        assert rewards.max() == run.reward
        assert task.evaluate(designs).reward.tolist() == rewards.tolist()
        env.reset(seed=0)
        for design, reward in zip(designs, rewards.tolist(), strict=True):
            assert env.step(design)[1] == reward
            env.reset()
        assert verify_bench(run.folder).refusals == ()
    first, second = (read_study(run.folder).records.indices for run in runs)
    assert not np.array_equal(first, second)


def test_finished_run_is_not_repeated(tmp_path: Path) -> None:
    tasks = [bench_task(TASK)]
    run_program(client(tmp_path), tasks, tmp_path / "out", 1, 5)
    broken = client(tmp_path, "raise SystemExit(3)")

    again = run_program(broken, tasks, tmp_path / "out", 1, 5)

    assert [(run.evaluations, run.status) for run in again] == [(5, 0)]


def test_program_that_fails_is_reported(tmp_path: Path) -> None:
    broken = client(tmp_path, "raise SystemExit(3)")

    (run,) = run_program(broken, [bench_task(TASK)], tmp_path / "out", 1, 5)

    assert (run.evaluations, run.reward, run.status) == (0, None, 3)


def test_program_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match="no-such-program"):
        run_program("./no-such-program", [bench_task(TASK)], tmp_path / "out", 1, 5)


def test_folder_of_a_program_is_a_submission(tmp_path: Path) -> None:
    runs = run_program(client(tmp_path), [bench_task(TASK)], tmp_path / "in" / "mine", 2, 5)

    found = verify_bench(tmp_path / "in" / "mine", replay=True)
    alone = verify_bench(runs[0].folder, replay=True)

    assert (found.runs, found.programs, found.refusals) == (2, 2, ())
    assert (alone.programs, alone.refusals) == (1, ())
    (task,) = read_bench_report(tmp_path / "in" / "mine").tasks
    assert [(agent.agent, agent.runs) for agent in task.agents] == [("program", 2)]
    assert "accepted: 2 runs, 10 evaluations" in page(tmp_path / "in", replay=True)


def test_search_of_an_agent_is_no_run_of_a_program(tmp_path: Path) -> None:
    (run,) = run_program(client(tmp_path), [bench_task(TASK)], tmp_path / "out", 1, 5)
    shutil.rmtree(run.folder)
    task = bench_task(TASK).plan.make()
    Study.create(run.folder, task, "random", budget=5).run()

    assert {each.kind for each in verify_bench(tmp_path / "out").refusals} == {"study"}


def test_example_client_is_a_program(tmp_path: Path) -> None:
    command = f"{sys.executable} {Path(__file__).parents[2] / 'examples/bench/client.py'}"

    (run,) = run_program(command, [bench_task(TASK)], tmp_path / "out", 1, 5)

    assert (run.evaluations, run.status) == (5, 0)


def test_program_that_writes_nothing_is_ended_with_its_children(tmp_path: Path) -> None:
    silent = client(tmp_path, "import subprocess; subprocess.run(['sleep', '300'])")

    (run,) = run_program(silent, [bench_task(TASK)], tmp_path / "out", 1, 5, 0.5)

    assert (run.evaluations, run.status) == (0, -signal.SIGKILL)


def test_program_ends_with_its_command_at_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    text = f"import os, time; open({str(path)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(300)"
    words = ["bench", "run", client(tmp_path, text), "--task", TASK, "--out", str(tmp_path / "out")]
    command = subprocess.Popen([sys.executable, "-m", "archgym", *words])
    wait_until(lambda: path.is_file() and path.read_text().endswith("."))

    for _ in range(2):  # As `timeout` does, which signals the process and its group.
        command.send_signal(signal.SIGTERM)

    assert command.wait(20) == 128 + signal.SIGTERM
    wait_until(lambda: not Path(f"/proc/{path.read_text()[:-1]}/cmdline").is_file())


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_empty_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="command"):
        run_program(" ", [bench_task(TASK)], tmp_path / "out", 1, 5)


def test_optuna_trials_have_the_rewards_and_violations_of_the_task() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = bench_task(TASK).plan.make()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    names = task.space.names
    study.enqueue_trial(dict(zip(names, task.space.default_indices.tolist(), strict=True)))

    study.optimize(optuna_objective(task), n_trials=6)

    area = next(limit.bound for limit in task.limits if limit.metric == "area_mm2")
    for trial in study.trials:
        design = np.array([[trial.params[name] for name in names]])
        assert trial.value == task.evaluate(design).reward[0]
        assert trial.value is not None
        (violation,) = optuna_constraints(trial)
        assert (violation > 0.0) == (trial.value <= -20.0)
        # Area is the limit that designs of this task miss first.
        assert (trial.user_attrs["area_mm2"] > area) <= (violation > 0.0)
    assert json.dumps(study.trials[0].user_attrs)


def test_metric_named_violation_does_not_replace_that_of_the_limits() -> None:
    import optuna

    metrics = {"loss": "minimise", "violation": "minimise"}
    simulator = FunctionSimulator(
        lambda design: {"loss": 1.0, "violation": 2.0}, [Integer(name="x", low=0, high=9)], metrics
    )
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))

    study.optimize(optuna_objective(Task.make(simulator)), n_trials=1)

    assert optuna_constraints(study.trials[0]) == (0.0,)


def test_one_folder_takes_agents_and_programs_and_reports_join(tmp_path: Path) -> None:
    tasks, out = [bench_task(TASK)], tmp_path / "one"
    plan = bench_plan(["random"], tasks, 2, 8, ["program", "program-two"]).decided()
    run_bench(plan, out)
    commands = {"program": client(tmp_path), "program-two": client(tmp_path)}
    runs = run_programs(commands, plan, out)
    run_bench(bench_plan(["random", "genetic"], tasks, 2, 12).decided(), tmp_path / "two")

    report = read_bench_report(out, tmp_path / "two")

    assert {run.program for run in runs} == set(commands)
    assert verify_bench(out).refusals == ()
    names = {"random", "program", "program-two", f"random ({tmp_path / 'two'})", "genetic"}
    assert {agent.agent for agent in report.tasks[0].agents} == names
    assert report.budgets == (8,)
    shipped = {name for name in names if not name.startswith("program")}
    for standing in report.standings:
        own = standing.agent.startswith("program")
        assert set(standing.against) == (shipped if own else set())
        assert all(0 < p <= 1 for p in standing.against.values())


def test_folders_of_other_tasks_of_one_name_are_not_joined(tmp_path: Path) -> None:
    tasks = [bench_task(TASK)]
    run_bench(bench_plan(["random"], tasks, 1, 5).decided(), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    plan = tmp_path / "b" / "sweep.json"
    if not plan.exists():
        (plan,) = (tmp_path / "b").glob("*.json")
    text = plan.read_text()
    digest = json.loads(text)["tasks"][TASK]["digest"]
    plan.write_text(text.replace(digest, digest[::-1]))

    with pytest.raises(ArchGymError):
        read_bench_report(tmp_path / "a", tmp_path / "b")


OWN_AGENT = """
import numpy as np
from archgym import AskTellAgent

class Mine(AskTellAgent):
    \"\"\"Random designs.\"\"\"

    name = "mine"

    def __init__(self, space, *, seed):
        self._space, self._rng = space, np.random.default_rng(seed)

    def ask(self):
        return self._space.sample(1, self._rng)

    def tell(self, trials):
        pass
"""


def test_a_class_in_a_file_takes_part_and_has_p_values_without_a_package(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(OWN_AGENT)
    arguments = "--task", "noc-table-area", "--seeds", "1", "--budget", "5", "--out", "runs"
    words = [sys.executable, "-m", "archgym", "bench", "run", "my_agent:Mine", "random", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    # Workers are processes of their own, which have to find the class too.
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True)

    assert verify_bench(tmp_path / "runs").refusals == ()
    (mine,) = [s for s in read_bench_report(tmp_path / "runs").standings if s.agent == "mine"]
    assert set(mine.against) == {"random"}


@pytest.mark.parametrize("value", ["my_agent:Yours", "nothing:Mine", "my_agent:np"])
def test_a_file_without_such_a_class_is_refused_in_one_line(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_agent.py").write_text(OWN_AGENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    with pytest.raises(InvalidArgumentError) as caught:
        own_agent(value)

    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.delitem(sys.modules, "my_agent", raising=False)
