"""The page in a real browser: found in its shadow tree, moved and waited for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.report.browser import Browser, browser

ROOT = Path(__file__).parents[2]
_FIND = """
const seek = (node) => { for (const e of node.querySelectorAll("*")) {
  if (e.classList.contains("explore")) return e;
  const found = e.shadowRoot && seek(e.shadowRoot); if (found) return found; } return null; };
const page = seek(document);
const input = (name) => page.querySelector(`.parameter[data-name="${name}"] :is(input, select)`);
const move = (name, index) => { const e = input(name); e.value = index;
  e.dispatchEvent(new Event(e.type === "range" ? "input" : "change")); };
"""


class Page:
    """A page that a browser has open."""

    def __init__(self, opened: Browser) -> None:
        self.browser = opened

    def open(self, url: str) -> None:
        self.browser.call("POST", "/url", {"url": url})
        self.wait("page && page.dataset.design")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.run(_FIND + script, *arguments)

    def wait(self, condition: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, (condition, self.errors())
            time.sleep(0.05)

    def settle(self) -> None:
        """Waits until the design and all its neighbours are known."""
        done = "(([a, b]) => a === b)((page.dataset.changes || '0/1').split('/'))"
        self.wait(f"page.dataset.changed === page.dataset.design && {done}")

    def settle_after(self, act: Callable[[], None]) -> None:
        """Does what changes the design, and waits for its neighbours."""
        design = self.run("return page.dataset.design")
        act()
        self.wait(f"page.dataset.design !== '{design}'")
        self.settle()

    def move(self, name: str, index: int) -> None:
        self.run("move(arguments[0], arguments[1])", name, index)

    def press(self, text: str) -> None:
        script = "[...page.querySelectorAll('button')].find(b => b.textContent === arguments[0])"
        self.run(f"{script}.click()", text)

    def errors(self) -> list[str]:
        return [line for line in self.browser.log() if "bokeh" not in line and "WebGL" not in line]


@contextmanager
def served(*words: str, folder: Path | None = None) -> Iterator[str]:
    """The address of `archgym explore` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "archgym", "explore", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, text=True, env=environment, cwd=folder) as ran:
        assert ran.stdout is not None
        line = ran.stdout.readline()
        assert line, "archgym explore did not start"
        try:
            yield line.split()[-1]
        finally:
            ran.kill()


@contextmanager
def paged(*words: str, folder: Path | None = None) -> Iterator[Page]:
    """A page of `archgym explore` in a browser; the test is skipped where there is none."""
    with browser() as opened, served(*words, folder=folder) as url:
        page = Page(opened)
        page.open(url)
        yield page
