"""A run of the tests leaves the checkout as it was."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"


def outcome(folder: Path, test: str, *, is_clean: bool) -> subprocess.CompletedProcess[str]:
    """Run a test in a checkout of its own that has this `conftest.py`."""
    (folder / "tests").mkdir()
    shutil.copy(CONFTEST, folder / "tests")
    (folder / "tests" / "test_one.py").write_text(test)
    (folder / ".gitignore").write_text("__pycache__/\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Add a test"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    if not is_clean:
        (folder / "notes.txt").touch()
    pytest_in = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    return subprocess.run(pytest_in, cwd=folder, capture_output=True, text=True, check=False)


WRITES = "def test_one(): open('left.sqlite', 'w').close()\n"


@pytest.mark.parametrize(
    ("test", "is_clean", "code"),
    [(WRITES, True, 1), ("def test_one(): pass\n", True, 0), (WRITES, False, 0)],
)
def test_file_left_in_a_clean_checkout_fails_the_run(
    tmp_path: Path, test: str, is_clean: bool, code: int
) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")

    ran = outcome(tmp_path, test, is_clean=is_clean)

    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ("left.sqlite" in ran.stderr) == bool(code)
