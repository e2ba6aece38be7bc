"""The page in Chromium: what it shows while somebody moves, pins, reloads, saves and searches."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from archgym.evaluation.simulator import simulator_names
from archgym.report.quantities import quantity
from archgym.studies.snapshot import read_study
from archgym.tasks.task import Task
from tests.explorer.driving import noted, paged

pytest.importorskip("panel", reason="needs the extra explore")
pytestmark = [pytest.mark.slow, pytest.mark.nightly]
# Ten or eleven simulators together show 200 random designs or more.
_DESIGNS = 20
_SHOWN = """return [...page.querySelectorAll("tr[data-metric]")].map(
  (row) => [row.dataset.metric, row.cells[1].textContent.split(" ±")[0]])"""


@pytest.mark.parametrize("name", simulator_names())
def test_page_shows_what_evaluate_prints(name: str) -> None:
    task = Task.make(name)
    rng = np.random.default_rng(3)
    with paged(name) as page:
        for design in task.space.sample(_DESIGNS, rng):
            hashed = ",".join(map(str, design.tolist()))
            page.run("location.hash = 'd=' + arguments[0]", hashed)
            page.wait(f"page && page.dataset.design === '{hashed}'")
            page.run(
                "const box = page.querySelector('.answer .bar input'); box.checked || box.click()"
            )
            own = task.evaluate(design[None, :])
            if (own.reason == 0).all():
                means = task.average(own.values)[0].tolist()
                expected = {
                    spec.name: quantity(value, spec.unit)
                    for spec, value in zip(task.metrics, means, strict=True)
                }
                assert dict(page.run(_SHOWN)) == expected
            else:
                assert "cannot be built" in page.run("return page.textContent")
        assert page.errors() == []


def test_slider_moves_the_numbers_and_undo_returns_them() -> None:
    with paged("dram") as page:
        page.settle()
        before = page.run(_SHOWN)
        page.settle_after(lambda: page.move("request_buffer_size", 0))
        after = page.run(_SHOWN)
        assert after != before
        program = [sys.executable, "-m", "archgym", "evaluate", "dram", "--json"]
        found = subprocess.run(
            [*program, "--set", "request_buffer_size=1"], capture_output=True, check=True
        )
        means = json.loads(found.stdout)["metrics"]
        units = {spec.name: spec.unit for spec in Task.make("dram").metrics}
        assert all(text == quantity(means[name], units[name]) for name, text in after)
        page.settle_after(lambda: page.press("Undo"))
        assert page.run(_SHOWN) == before
        assert page.errors() == []


def test_design_pins_and_keyboard_survive_a_reload() -> None:
    with paged("dram") as page:
        page.run("input('request_buffer_size').focus()")
        start = page.run("return page.dataset.design")
        page.press_keys("\ue012")
        page.wait(f"page.dataset.design !== '{start}'")
        design = page.run("return page.dataset.design")
        page.press("Pin")
        page.wait("page.textContent.includes('Load A')")
        page.run("location.reload()")
        page.wait(f"page && page.dataset.design === '{design}'")
        page.wait("page.textContent.includes('Load A')")


def test_designs_are_pinned_saved_and_searched_from(tmp_path: Path) -> None:
    with paged("dram", folder=tmp_path) as page:
        page.settle()
        page.press("Pin")
        page.move("request_buffer_size", 0)
        page.wait("page.textContent.includes('Load A')")
        page.run("page.querySelector('input[placeholder=name]').value = '<img src=x onerror=1>'")
        page.press("Save")
        page.wait("page.textContent.includes('Saved: ')")
        page.run("page.querySelector('input[type=number]').value = 30")
        page.press("Search")
        page.wait("page.textContent.includes('The search ended after 30 evaluations')")
        assert page.run("return page.querySelectorAll('img').length") == 0
        assert page.errors() == []

    folders = sorted((tmp_path / "runs").iterdir())
    assert sorted(read_study(folder).evaluations for folder in folders) == [1, 30]


def test_notebook_shows_a_page_that_moves(tmp_path: Path) -> None:
    with noted("import archgym as ag\nag.explore('dram')", tmp_path) as page:
        page.settle()
        before = page.run(_SHOWN)
        page.settle_after(lambda: page.move("request_buffer_size", 0))
        assert page.run(_SHOWN) != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 1500, 2500])
def test_page_fits_its_window(width: int, scheme: str) -> None:
    with paged("soc") as page:
        page.browser.size(width, 900)
        page.browser.scheme(scheme)
        page.settle()
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.run(f"return {wide}") == 0
        ground = page.run("return getComputedStyle(page).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
