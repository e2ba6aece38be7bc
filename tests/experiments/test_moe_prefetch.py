"""The sweep over accuracy: prefetch helps on an idle link and hurts on a saturated one."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import InvalidArgumentError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    """Returns the module of the study."""
    sys.path.insert(0, str(ROOT / "experiments"))
    yield import_module("moe_prefetch")
    sys.path.remove(str(ROOT / "experiments"))


@pytest.mark.slow
def test_prefetch_hurts_where_it_must(study: Any) -> None:
    idle, saturated = study.prefetch_sweep((0.0, 0.5, 1.0))

    assert idle.tpot_ms[0] > idle.without_ms > idle.tpot_ms[1] > idle.tpot_ms[2]
    assert saturated.tpot_ms[0] > saturated.tpot_ms[1] > saturated.without_ms
    assert saturated.tpot_ms[2] < 1.01 * saturated.without_ms
    assert idle.wasted_percent[0] == 100.0
    assert idle.wasted_percent[2] == 0.0
    assert saturated.busy_percent > 90.0 > idle.busy_percent


def test_pictures_have_known_endings(study: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"must end in \.png, \.svg, \.pdf"):
        study.draw_sweep((), tmp_path / "sweep.txt")
