"""A browser without a window, driven through WebDriver with the standard library alone."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


class Browser:
    """One page at a time."""

    def __init__(self, address: str, session: str) -> None:
        self._base = f"{address}/session/{session}"

    def call(self, method: str, path: str, data: Any = None) -> Any:
        return _request(method, self._base + path, data)["value"]

    def open(self, path: Path) -> None:
        """Opens a file and waits until its scripts are done."""
        self.call("POST", "/url", {"url": path.absolute().as_uri()})
        for _ in range(600):
            if self.run("return document.documentElement.dataset.ready") == "yes":
                return
            time.sleep(0.05)
        raise AssertionError(f"the page did not get ready: {self.log()}")

    def unfold(self) -> None:
        """Opens every folded part and waits until it is drawn."""
        parts = "[...document.querySelectorAll('body > details[id]')]"
        self.run(f"{parts}.forEach(part => part.open = true)")
        for _ in range(600):
            if self.run(f"return {parts}.every(part => part.dataset.drawn === 'yes')"):
                return
            time.sleep(0.05)
        raise AssertionError(f"a part was not drawn: {self.log()}")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def keys(self, selector: str, *keys: str) -> None:
        """Sends keys to whatever has the focus, after the element got it."""
        self.run("document.querySelector(arguments[0]).focus()", selector)
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        data = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        self.call("POST", "/actions", data)

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self) -> list[str]:
        """Errors of the console since the last call."""
        return [e["message"] for e in self.call("POST", "/se/log", {"type": "browser"})]

    def size(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


def _request(method: str, url: str, data: Any) -> Any:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()[:2000]) from None


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, or the test is skipped with what is absent."""
    for program in ("chromedriver", "chromium"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    options = {
        "goog:chromeOptions": {"args": _ARGUMENTS, "binary": shutil.which("chromium")},
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    try:
        for _ in range(300):
            try:
                _request("GET", f"{address}/status", None)
                break
            except OSError:
                time.sleep(0.1)
        made = _request("POST", f"{address}/session", {"capabilities": {"alwaysMatch": options}})
        opened = Browser(address, made["value"]["sessionId"])
        yield opened
        opened.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(20)
