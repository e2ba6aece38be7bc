"""Commands where the locale has no UTF-8, or a path has unusual letters."""

import os
import subprocess
import sys
from pathlib import Path

from archgym.version import __version__

_PLAIN = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def _run(*words: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "archgym", *words],
        env={**os.environ, **_PLAIN, "COLUMNS": "80"},
        cwd=folder,
        capture_output=True,
        timeout=300,
    )


def test_letters_that_a_locale_lacks_do_not_end_a_command(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    ran = _run("evaluate", "cluster", "--space", "table", "--baseline", folder=folder)

    assert ran.returncode == 0, ran.stderr
    assert b"tokens_per_s" in ran.stdout
    assert ran.stdout.isascii()


def test_argument_that_a_locale_lacks_names_the_remedy(tmp_path: Path) -> None:
    ran = _run("show", "\u00e9tude", folder=tmp_path)

    assert ran.returncode == 2
    assert ran.stderr.count(b"\n") == 1
    assert b"set PYTHONUTF8=1" in ran.stderr
    assert _run("--version", folder=tmp_path).stdout == f"archgym {__version__}\n".encode()
