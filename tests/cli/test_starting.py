"""The first moments of a command, in which Python itself still answers SIGINT with a traceback."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

IMPORTED = """
import sys
before = set(sys.modules)
from archgym.cli import main
print(*(set(sys.modules) - before))
"""

INTERRUPTED = """
import sys

class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "archgym.cli.console.signals":
            raise KeyboardInterrupt

from archgym.cli import main
sys.meta_path.insert(0, Interrupts())
main()
"""


TWICE = """
import os, signal, time
from archgym.cli.console import signals
signals.install()
with signals.prompt_stops():
    signals._cleanups.append(lambda: os.kill(os.getpid(), signal.SIGTERM))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


def run_python(program: str) -> "subprocess.CompletedProcess[str]":
    # -S: the packages that a virtual environment loads at its start are not ours.
    return subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_little_is_imported_before_signals_are_handled() -> None:
    imported = set(run_python(IMPORTED).stdout.split())

    assert "archgym.envs.registration" in imported
    assert not imported & {"logging", "pathlib", "tempfile", "threading", "typer", "numpy"}


def test_interrupt_before_signals_are_handled_ends_without_a_traceback() -> None:
    ran = run_python(INTERRUPTED)

    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_second_signal_while_a_command_ends_does_not_hold_it_up() -> None:
    words = [sys.executable, "-c", TWICE]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30, cwd=ROOT)

    assert (ran.returncode, ran.stderr) == (143, "error: stopped by SIGTERM.\n")
