"""Everything that writes continues, or begins again, with the same command after a kill."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from archgym.cli.app import run
from tests.cli.conftest import Archgym

PLAN = """\
budget: 12
seeds: [0, 1]
tasks: {light: {simulator: plugin, workload: light}}
agents: {random: , genetic: }
"""
COMMANDS = {
    "search": "search plugin -a genetic -n 30 --out new",
    "sweep run": "sweep run plan.yaml --out new",
    "table build": "table build plugin -w light --objective balanced --out new.parquet",
    "dataset build": "dataset build study --out new",
    "dataset file": "dataset build study --out new.parquet",
    "bench run": "bench run random --task soc-small-edp --seeds 1 --budget 4 --out new",
    "proxy train": "proxy train data --model forest --setting n_trees=2 --out new.npz",
    "report": "report study -o new.html",
    "export": "export default dram --as dramsys --out new",
}
# Commands that refuse what exists: a file of these names is whole, however early the kill came.
WRITTEN_ONCE = ("dataset build", "dataset file", "proxy train")
ENDS = ("new", "new.parquet", "new.npz")


def killed_at(command: list[str], number: int) -> bool:
    """Run a command in a process of its own that is killed as it brings a file to the disk.

    Args:
      command: Its arguments.
      number: Number of the call of `os.fsync` or `os.replace` before which it is killed.

    Returns:
      True if it was killed, and not done before.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    left = [number]
    lock = threading.Lock()

    def killing(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            with lock:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    for name in ("fsync", "replace", "rename"):
        setattr(os, name, killing(getattr(os, name)))
    try:
        run(command)
    except BaseException:
        os._exit(0)
    os._exit(0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("name", COMMANDS)
def test_command_that_was_killed_runs_again(
    archgym: Archgym, study: Path, name: str, number: int
) -> None:
    Path("plan.yaml").write_text(PLAN)
    if "data" in COMMANDS[name].split():
        words = "search plugin -a random -n 80 --out larger"
        assert archgym(*words.split()).code == 0
        assert archgym("dataset", "build", "larger", "--out", "data").code == 0
    command = COMMANDS[name].split()
    before = {path.name for path in Path().iterdir()}

    is_whole = False
    was_killed = killed_at(command, number)

    assert was_killed or number
    if was_killed:
        is_whole = any(path.name in ENDS for path in Path().iterdir()) and name in WRITTEN_ONCE
        ran = archgym(*command)
        assert ran.code == is_whole, ran.err
        assert not is_whole or "already" in ran.err or "must not exist yet" in ran.err
    # Nothing that the killed process began is left next to what was asked for.
    made = {path.name for path in Path().iterdir()} - before
    assert {each for each in made if each.startswith(".writing")} == set() or is_whole
    assert any(each.startswith("new") for each in made)
