"""What every test starts from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A shell starts its background jobs with SIGINT ignored, which this process and its children would
# inherit; tests that send it need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Ray reads the mode once in a process, and its clusters ask for a token by default: whichever test
# starts Ray first, all that follow in its process must find the same mode.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

TESTS = Path(__file__).parent
_WAS_CLEAN = pytest.StashKey[bool]()


def _folder(name: str) -> Path:
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"ARCHGYM_REFERENCE does not name a folder of recorded results with {name}")
    return Path(folder) / name


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> Path:
    """Return the recorded results of the simulator that the folder of the test is named after."""
    return _folder(request.path.relative_to(TESTS).parts[1])


@pytest.fixture
def recorded() -> Path:
    """Return the folder of results recorded from Ramulator 2.1 and DRAMPower 6.2."""
    return _folder("dram2")


def _changed_files() -> str | None:
    """Return what git reports as changed or new in the checkout; None outside a checkout."""
    if not (TESTS.parent / ".git").exists():
        return None
    command = ["git", "-c", "core.quotePath=off", "status", "--porcelain"]
    ran = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    return ran.stdout if ran.returncode == 0 else None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note whether the checkout is clean, once for all processes."""
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_WAS_CLEAN] = _changed_files() == ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if its tests left files in a checkout that was clean."""
    if session.config.stash.get(_WAS_CLEAN, False) and (changed := _changed_files()):
        sys.stderr.write(f"\nTests must write only to their own folders; changed:\n{changed}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
