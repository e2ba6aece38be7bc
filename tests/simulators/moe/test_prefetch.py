"""The sweep over accuracy: prefetch helps on an idle link and hurts on a saturated one."""

import json
from pathlib import Path

import pytest

from archgym.cli.app import run
from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.prefetch import draw_sweep, prefetch_sweep


@pytest.mark.slow
def test_prefetch_hurts_where_it_must() -> None:
    idle, saturated = prefetch_sweep((0.0, 0.5, 1.0))

    assert idle.tpot_ms[0] > idle.without_ms > idle.tpot_ms[1] > idle.tpot_ms[2]
    assert saturated.tpot_ms[0] > saturated.tpot_ms[1] > saturated.without_ms
    assert saturated.tpot_ms[2] < 1.01 * saturated.without_ms
    assert idle.wasted_percent[0] == 100.0
    assert idle.wasted_percent[2] == 0.0
    assert saturated.busy_percent > 90.0 > idle.busy_percent


@pytest.mark.slow
def test_command_draws_and_prints_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.svg"

    with pytest.raises(SystemExit) as ended:
        run(["moe", "prefetch", "--picture", str(path), "--json"])

    assert ended.value.code in (0, None)
    found = json.loads(capsys.readouterr().out)
    assert [sweep["link"] for sweep in found] == ["idle", "saturated"]
    assert path.read_text().startswith("<?xml")


def test_pictures_have_known_endings(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"must end in \.png, \.svg, \.pdf"):
        draw_sweep((), tmp_path / "sweep.txt")
