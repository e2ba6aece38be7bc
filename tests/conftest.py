"""What every test starts from."""

import os
import signal
from pathlib import Path

import pytest

# A shell starts its background jobs with SIGINT ignored, which this process and its children would
# inherit; tests that send it need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Ray reads the mode once in a process, and its clusters ask for a token by default: whichever test
# starts Ray first, all that follow in its process must find the same mode.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

TESTS = Path(__file__).parent


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
