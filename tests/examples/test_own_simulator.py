import subprocess
import sys
from pathlib import Path

from archgym.studies.snapshot import read_study

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_simulator"


def run(folder: Path, budget: int) -> str:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; "
    code += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLE / "search.py"), str(folder), str(budget)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_program_is_wrapped_in_under_sixty_lines() -> None:
    assert len((EXAMPLE / "search.py").read_text().splitlines()) < 60


def test_program_is_searched_and_goes_on(tmp_path: Path) -> None:
    first = run(tmp_path / "a", 12)
    second = run(tmp_path / "a", 20)

    log = read_study(tmp_path / "a")
    assert log.evaluations == 20
    assert log.records.errors == {}
    assert log.workloads == ("dense", "sparse")
    best = log.best()
    assert best is not None
    assert best.reward > 0
    assert first.startswith("Outcome(seq=")
    assert str(best) in second
