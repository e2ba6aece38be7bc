"""Pictures of docs/explore.md, taken from the page in Chromium.

python -m docs.screenshots
"""

import tempfile
from pathlib import Path

from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.explorer.driving import Page, noted, paged

PICTURES = Path(__file__).parent / "pictures" / "explore"
_SIZE = (1600, 1000)


def taken(page: Page, name: str) -> None:
    """Save what the window shows."""
    page.browser.picture(PICTURES / f"{name}.png")


def sized(page: Page) -> None:
    """Give the window the size of all pictures, and wait for its drawing."""
    page.browser.size(*_SIZE)
    page.settle()


def main() -> None:
    """Take all pictures; that of a notebook needs JupyterLab, too."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with paged("dram", folder=folder) as page:
            sized(page)
            taken(page, "first-design")
            page.press("Pin")
            page.settle_after(lambda: page.move("request_buffer_size", 0))
            page.press("Pin")
            page.wait("page.textContent.includes('Load B')")
            page.settle_after(lambda: page.move("page_policy", 2))
            taken(page, "two-designs")
        with paged("dram", "--subject-to", "power_mw <= 900", folder=folder) as page:
            sized(page)
            taken(page, "missed-limit")
            page.run("page.querySelector('.effects').scrollIntoView()")
            taken(page, "neighbours")
        study = folder / "runs" / "search"
        Study.create(study, Task.make("dram"), "genetic", budget=60).run()
        with paged(str(study), folder=folder) as page:
            sized(page)
            page.run("page.querySelector('input[type=number]').value = 2000")
            page.press("Search")
            page.wait("page.querySelector('.chart svg') && page.textContent.includes('running')")
            page.wait("Number(page.dataset.evaluations) > 150", seconds=120)
            page.run("page.querySelector('.chart').scrollIntoView({ block: 'end' })")
            taken(page, "running-search")
            page.press("Stop search")
        with noted('import archgym as ag\n\nag.explore("dram")', folder) as page:
            sized(page)
            taken(page, "notebook")


if __name__ == "__main__":
    main()
