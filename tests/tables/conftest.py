"""A table that tests share."""

from pathlib import Path

import pytest

from archgym.tables import build_table
from tests.toys import toy_task


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the toy on both its workloads."""
    return build_table(toy_task(["light", "heavy"]), tmp_path_factory.mktemp("t") / "toy.parquet")
