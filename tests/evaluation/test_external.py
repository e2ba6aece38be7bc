import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from archgym.errors import (
    ConformanceError,
    InvalidArgumentError,
    SimulatorError,
    StudyInterrupted,
    UnknownNameError,
)
from archgym.evaluation.external import ExternalSimulator, Infeasible, RunningPrograms, run_program
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import Workload
from archgym.evaluation.spec import SimulatorSpec
from archgym.runtime.watchdog import Watchdog
from archgym.spaces.design import Design
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.studies.study import Study
from archgym.tasks.executor import SerialExecutor, ThreadExecutor
from archgym.tasks.task import Task
from archgym.testing import check_simulator
from tests.toys import ToyAgent

ROOT = Path(__file__).parents[2]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


PROGRAM = """
import sys
n, load = int(sys.argv[1]), sys.argv[2]
if n == 3: sys.exit("no threes")
if n == 4: print("rubbish"); sys.exit()
if n == 5: print("too big"); sys.exit()
if n == 6: print("nan"); sys.exit()
print(n * (10 if load == "heavy" else 1))
"""


class Wrapped(ExternalSimulator):
    spec = SimulatorSpec(
        name="wrapped",
        version=0,
        space=DesignSpace("wrapped", [Integer(name="n", low=0, high=7)]),
        metrics=(MetricSpec("size", "1", "minimise", 1.0, "Size."),),
        model_reasons=("It is too big.",),
        objectives={"small": Objective("small", (Term("size", "minimise"),))},
        default_objective="small",
    )
    workloads: Mapping[str, str] = {"light": "light", "heavy": "heavy"}
    time_limit_s: ClassVar[float] = 5.0

    def command(self, design: Design, workload: Workload) -> Sequence[str]:
        return [*python(PROGRAM), str(design["n"]), workload.content]

    def parse(self, output: str, design: Design) -> Mapping[str, float] | Infeasible:
        if output == "too big\n":
            return Infeasible("It is too big.")
        return {"size": float(output)}


def test_program_is_run_for_each_design_and_workload() -> None:
    task = Task.make(Wrapped(), ["light", "heavy"])

    evaluation = task.evaluate(np.array([[1], [7]]))

    assert evaluation.values[:, :, 0].tolist() == [[1.0, 10.0], [7.0, 70.0]]


def test_each_kind_of_trouble_costs_its_design() -> None:
    task = Task.make(Wrapped())

    evaluation = SerialExecutor().evaluate(task, np.arange(3, 8)[:, None])

    assert evaluation.reason[:, 0].tolist() == [-1, -1, 1, -1, 0]
    assert "ended with exit code 1. Its last lines:\nno threes" in evaluation.failures[0]
    assert "`parse` raised ValueError" in evaluation.failures[1]
    assert evaluation.failures[1].endswith("Its last lines:\nrubbish")
    assert "`parse` must give finite numbers" in evaluation.failures[3]
    assert task.simulator.spec.reasons[1] == "It is too big."


def test_threads_give_the_same(tmp_path: Path) -> None:
    task = Task.make(Wrapped())
    indices = np.arange(8)[:, None]

    with ThreadExecutor(2) as executor:
        threaded = executor.evaluate(task, indices)

    serial = SerialExecutor().evaluate(task, indices)
    np.testing.assert_array_equal(threaded.values, serial.values)
    assert dict(threaded.failures) == dict(serial.failures)


def test_file_may_be_the_workload(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("abc")

    workload = Wrapped().workload(path)

    assert (workload.name, workload.content) == ("trace", str(path))
    # SHA-256 of "abc", FIPS 180-2, appendix B.1.
    assert workload.digest.startswith("ba7816bf8f01cfea")
    with pytest.raises(UnknownNameError, match="Did you mean 'light'"):
        Wrapped().workload("ligth")


def test_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); "
        "print('waiting', flush=True); child.wait()"
    )

    with pytest.raises(SimulatorError, match=r"took longer than 3 s. Its last lines:\nwaiting"):
        run_program(python(code), 3.0)

    # All processes of a run have ended when it returns.
    assert is_gone(int((tmp_path / "pid").read_text()))


def is_gone(pid: int) -> bool:
    """True if a process has ended; one that init has not taken yet is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def assert_ends(pid: int) -> None:
    """Wait for the end of another's process by its file descriptor; the time is for a hang only."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 60.0)[0], f"process {pid} still runs"
    finally:
        os.close(descriptor)


KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from archgym.evaluation.external import run_program

def kill_when_it_runs(path):
    while not path.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

path = Path(sys.argv[1])
run_program(["true"], 5.0)
threading.Thread(target=kill_when_it_runs, args=[path]).start()
run_program(["sh", "-c", 'sleep 60 & echo $$ $! > "$0.new"; mv "$0.new" "$0"; wait', str(path)], 60)
"""


def test_program_and_its_children_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "pids"

    ran = subprocess.run([*python(KILLED), str(path)], cwd=ROOT, check=False)

    assert ran.returncode == -signal.SIGKILL
    for pid in path.read_text().split():
        assert_ends(int(pid))


def test_watchdog_kills_what_is_not_forgotten() -> None:
    watchdog = Watchdog()
    sleepers = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(4)]
    for sleeper in sleepers:
        watchdog.watch(sleeper.pid)
    for sleeper in sleepers[:3:2]:
        watchdog.forget(sleeper.pid)

    # What happens at this process's end.
    assert watchdog._shell is not None
    watchdog._shell.communicate(timeout=10)

    assert [sleepers[place].wait(timeout=10) for place in (1, 3)] == [-signal.SIGKILL] * 2
    assert [sleepers[place].poll() for place in (0, 2)] == [None, None]
    for sleeper in sleepers[:3:2]:
        sleeper.kill()
        sleeper.wait()


def test_program_that_prints_too_much_is_killed() -> None:
    with pytest.raises(SimulatorError, match="printed more than 10000 bytes"):
        run_program(python("while True: print('x' * 100)"), 30.0, output_limit=10_000)


def test_program_whose_child_keeps_its_output_open_ends_in_time() -> None:
    code = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('done')"
    )
    started = time.monotonic()

    output = run_program(python(code), 30.0)

    assert output == "done\n"
    assert time.monotonic() - started < 20


def test_last_twenty_lines_are_shown() -> None:
    with pytest.raises(SimulatorError) as caught:
        run_program(python("[print('line', n) for n in range(50)]; raise SystemExit(3)"), 30.0)

    lines = str(caught.value).splitlines()
    assert "exit code 3" in lines[0]
    assert lines[1:] == [f"line {n}" for n in range(30, 50)]


def test_output_file_is_read_from_the_runs_own_folder() -> None:
    code = "import os; os.mkdir('out'); open('out/stats', 'w').write('7'); print('noise')"

    assert run_program(python(code), 30.0, output_file="out/stats") == "7"
    with pytest.raises(SimulatorError, match="wrote no file 'absent'"):
        run_program(python(code), 30.0, output_file="absent")


def test_program_that_does_not_exist_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidArgumentError, match="`command` must name a program"):
        run_program(["/no/such/program"], 1.0)


def test_stop_kills_what_runs_and_starts_no_more() -> None:
    programs = RunningPrograms()
    ended: list[Exception] = []

    def run() -> None:
        with programs:
            for _ in range(2):
                try:
                    run_program(python("import time; time.sleep(60)"), 60.0)
                except (SimulatorError, StudyInterrupted) as error:
                    ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not programs._groups:
        pass
    programs.stop()
    thread.join(timeout=10)

    assert [type(error) for error in ended] == [SimulatorError, StudyInterrupted]


class Hanging(Wrapped):
    time_limit_s = 60.0

    def command(self, design: Design, workload: Workload) -> Sequence[str]:
        if design["n"] == 0:
            return super().command(design, workload)
        return python("import time; time.sleep(60)")


def test_signal_stops_a_study_whose_program_hangs(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", Task.make(Hanging()), ToyAgent, budget=8)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()

    with pytest.raises(StudyInterrupted):
        study.run()

    assert time.monotonic() - started < 0.5 + 2.0


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    pid = os.fork()
    if pid == 0:
        for number in (0, 1, 2): os.close(number)
        time.sleep(60)
    open(sys.argv[1], "w").write(str(pid))
    os._exit(0)
os.wait()
if len(sys.argv) > 2: time.sleep(60)
"""


def test_daemon_with_a_session_of_its_own_ends_with_its_run(tmp_path: Path) -> None:
    run_program([*python(DAEMON), str(tmp_path / "pid")], 10.0)

    assert is_gone(int((tmp_path / "pid").read_text()))


# A daemon that also clears its environment, so that nothing but its ancestry tells whose it is.
HIDDEN = DAEMON.replace(
    "time.sleep(60)\n    open",
    "os.execve('/bin/sleep', ['sleep', '60'], {})\n    open",
)


def test_daemon_without_session_and_environment_ends_with_its_run(tmp_path: Path) -> None:
    run_program([*python(HIDDEN), str(tmp_path / "pid")], 10.0)

    assert is_gone(int((tmp_path / "pid").read_text()))


def test_daemon_without_session_and_environment_ends_at_the_time_limit(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="took longer than 2 s"):
        run_program([*python(HIDDEN), str(tmp_path / "pid"), "stay"], 2.0)

    assert is_gone(int((tmp_path / "pid").read_text()))


def test_signal_of_a_program_is_its_exit_code() -> None:
    with pytest.raises(SimulatorError, match="ended with exit code -11"):
        run_program(["sh", "-c", "kill -SEGV $$"], 10.0)


def test_program_that_kills_its_supervisor_fails() -> None:
    with pytest.raises(SimulatorError, match="ended with exit code -9"):
        run_program(["sh", "-c", "kill -9 $PPID; sleep 60"], 10.0)


@pytest.mark.parametrize("daemon", [DAEMON, HIDDEN], ids=["marked", "hidden"])
def test_daemon_ends_with_a_process_that_is_killed(tmp_path: Path, daemon: str) -> None:
    command = [*python(daemon), str(tmp_path / "pid"), "stay"]
    code = f"from archgym.evaluation.external import run_program; run_program({command!r}, 60)"
    with subprocess.Popen(python(code), cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()

    assert_ends(int((tmp_path / "pid").read_text()))


def test_program_that_needs_more_memory_than_its_limit_fails() -> None:
    code = "print(len(bytearray(10**9)))"
    assert run_program(python(code), 20.0) == "1000000000\n"

    with pytest.raises(SimulatorError, match="MemoryError"):
        run_program(python(code), 20.0, memory_limit_bytes=500_000_000)


def test_program_sees_a_small_environment_and_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s")
    monkeypatch.setenv("LICENCE", "own")
    command = python("import os; print(sorted(os.environ), os.environ.get('LICENCE'))")

    plain = run_program(command, 10.0)
    extended = run_program(
        command, 10.0, environment={"LICENCE": None, "MODE": "fast", "ABSENT": None}
    )

    assert "SECRET_TOKEN" not in plain + extended
    assert "'PATH'" in plain
    assert plain.endswith("] None\n")
    assert extended.endswith("] own\n")
    assert "'MODE'" in extended
    assert "ABSENT" not in extended


def test_folder_that_a_killed_process_left_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_program(python("pass"), 10.0)
    root = tmp_path / f"archgym-programs-{os.getuid()}"
    (root / ".writing-left").mkdir()
    (root / ".writing-left" / "large").touch()

    said = run_program(python("import os, tempfile; print(os.getcwd(), tempfile.gettempdir())"), 10)

    assert list(root.iterdir()) == []
    folder, temporary = said.split()
    assert folder == temporary
    assert Path(folder).parent == root


class Plain(ExternalSimulator):
    """A program without objectives of its own."""

    spec = SimulatorSpec(
        name="plain",
        version=0,
        space=DesignSpace("plain", [Integer(name="n", low=0, high=2, doc="Size.")]),
        metrics=(MetricSpec("size", "1", "minimise", 1.0, "Size."),),
    )

    def command(self, design: Design, workload: Workload) -> Sequence[str]:
        return python("print(1)")

    def parse(self, output: str, design: Design) -> Any:
        return {0: {"size": 1.0}, 1: None, 2: {"size": None}}[design["n"]]


def test_simulator_without_objectives_is_refused_in_a_line() -> None:
    with pytest.raises(InvalidArgumentError, match="'plain' has no default objective"):
        Task.make(Plain())
    with pytest.raises(ConformanceError, match="`default_objective` must be one of them"):
        check_simulator(Plain())


def test_result_that_is_no_mapping_of_numbers_fails_the_design() -> None:
    failures = Task.make(Plain(), minimise="size").evaluate(np.array([[0], [1], [2]])).failures

    assert failures[1].endswith("mapping of metrics to numbers, or Infeasible; got None.")
    assert failures[2] == "`parse` must give finite numbers; got {'size': None}."


def test_time_limit_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`time_limit_s` must be a number"):
        run_program(python("pass"), "3")  # type: ignore[arg-type]
