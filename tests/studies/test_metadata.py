from pathlib import Path

from archgym.studies.metadata import read_header
from archgym.studies.study import Study
from tests.toys import ToyAgent, toy_task


def test_studies_of_one_space_share_it(tmp_path: Path) -> None:
    for seed in (0, 1):
        Study.create(tmp_path / f"{seed}", toy_task(), ToyAgent, seed=seed, budget=1).run()
    first, second = (read_header(tmp_path / f"{seed}") for seed in (0, 1))
    assert first.space() is second.space()
    assert first.space().to_json() == first.task["space"]
