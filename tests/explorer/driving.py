"""The page in a real browser: found in its shadow tree, moved and waited for."""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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


# JupyterLab may ask for the kernel, and runs nothing before it has one.
_RUN_CELL = """(() => {
  const asked = document.querySelector(".jp-Dialog .jp-mod-accept"), own = window.jupyterapp;
  if (asked) asked.click();
  else if (own && !(performance.now() < (window.again || 0)) && /\\[\\s\\]/.test(
    document.querySelector(".jp-CodeCell .jp-InputPrompt")?.textContent)) {
    window.again = performance.now() + 8000; own.commands.execute("notebook:run-all-cells"); }
  return page && page.dataset.design; })()"""


class Page:
    """A page that a browser has open."""

    def __init__(self, opened: Browser) -> None:
        self.browser = opened

    def open(self, url: str) -> None:
        self.browser.call("POST", "/url", {"url": url})
        self.wait("page && page.dataset.design")

    def press_keys(self, *keys: str) -> None:
        """Holds keys down together, in whatever has the focus."""
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self.browser.call("POST", "/actions", {"actions": [keyboard]})

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


@contextmanager
def noted(source: str, folder: Path) -> Iterator[Page]:
    """The page as the value of a cell in JupyterLab; the test is skipped where that is absent."""
    pytest.importorskip("jupyterlab", reason="needs JupyterLab")
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "outputs": [],
            "execution_count": None, "source": source}  # fmt: skip
    spec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    kernel = {"kernelspec": spec, "language_info": {"name": "python"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "page.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(folder),
                   "JUPYTER_DATA_DIR": str(folder / "data")}  # fmt: skip
    words = ["--no-browser", "--allow-root", f"--ServerApp.port={port}",
             f"--IdentityProvider.token={token}", "--ServerApp.port_retries=0",
        "--expose-app-in-browser"]  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", *words]
    pipe = subprocess.PIPE
    with (
        browser() as opened,
        subprocess.Popen(command, stderr=pipe, text=True, env=environment, cwd=folder) as ran,
    ):
        assert ran.stderr is not None
        try:
            assert any("is running at" in line for line in ran.stderr), "JupyterLab did not start"
            threading.Thread(target=ran.stderr.read, daemon=True).start()
            page = Page(opened)
            url = f"http://127.0.0.1:{port}/doc/tree/page.ipynb?token={token}"
            opened.call("POST", "/url", {"url": url})
            page.wait("document.querySelector('[data-status=idle]')")
            page.wait(_RUN_CELL)
            yield page
        finally:
            ran.terminate()
