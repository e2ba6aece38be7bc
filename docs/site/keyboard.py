"""Check a page with the keyboard alone, in Chromium without a window: `keyboard_problems(page)`.

Tab must reach every link, field and button that is shown, with a visible focus, and leave the page
at its end. The key / must open the search.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["keyboard_problems", "needed_programs"]

_PROGRAMS = ("chromium", "chromedriver")
_TAB = "\ue004"
# chosen: stops that are not counted: boxes that scroll, buttons that show under a pointer.
_MORE = 50
_TRIES = 20
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,900")
# Elements that Tab should reach; one inside a closed or hidden part is not shown.
_STOPS = """
const stops = [...document.querySelectorAll('a[href], input, button, select, textarea, summary,' +
    '[tabindex]')].filter(e => e.tabIndex >= 0 && !e.disabled && e.type != 'hidden'
    && e.checkVisibility({checkVisibilityCSS: true, checkOpacity: true}));
"""
_LOOK = """
const look = e => { const s = getComputedStyle(e);
    return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.backgroundColor, s.borderColor,
            s.color, s.textDecorationLine, s.opacity].join(); };
"""
# Movements would be measured half-way.
_STILL = """
const still = document.createElement('style');
still.textContent = '* { scroll-behavior: auto !important; transition: none !important }';
document.head.append(still);
"""
_COUNT = (
    _STILL
    + _STOPS
    + _LOOK
    + "window.rest = new Map(stops.map(e => [e, look(e)])); return stops.length"
)
_FOCUSED = (
    _LOOK
    + """
const e = document.activeElement;
if (!e || e === document.body || e === document.documentElement) return null;
window.seen = window.seen || new Set();
const isNew = !window.seen.has(e); window.seen.add(e);
const style = getComputedStyle(e);
const drawn = (style.outlineStyle != 'none' && parseFloat(style.outlineWidth) > 0)
    || (window.rest.has(e) && window.rest.get(e) != look(e));
// A link around something that floats has no size of its own.
const inside = [e, ...e.children].map(part => part.getBoundingClientRect()).some(box =>
    box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0
    && box.top < innerHeight && box.left < innerWidth);
return [isNew, drawn, inside, e.outerHTML.split('>')[0].slice(0, 100) + '>'];
"""
)
_MISSED = (
    _STOPS
    + """
return stops.filter(e => !window.seen.has(e)
    && !(e.type == 'radio' && [...window.seen].some(o => o.name == e.name)))
    .map(e => e.outerHTML.split('>')[0].slice(0, 100) + '>')
"""
)


def needed_programs() -> list[str]:
    """Return the programs that the check needs and that are not installed."""
    return [name for name in _PROGRAMS if shutil.which(name) is None]


def keyboard_problems(page: Path) -> Iterator[str]:
    """Yield a message for each thing on a page that a keyboard cannot reach or show."""
    with _browser() as browser:
        browser("POST", "/url", {"url": page.absolute().as_uri()})
        for _ in range(_TRIES):
            # A page that was just loaded may not be laid out yet.
            if n_stops := _run(browser, _COUNT):
                break
            time.sleep(0.1)
        if not n_stops:
            yield f"{page.name}: the page has nothing that Tab could reach"
            return
        most = 2 * n_stops + _MORE
        for _ in range(most):
            _press(browser, _TAB)
            found = _run(browser, _FOCUSED)
            if found is None:
                break
            is_new, is_drawn, is_inside, name = found
            if not is_new:
                yield f"{page.name}: Tab comes back to {name} before the end of the page"
                break
            if not is_drawn:
                yield f"{page.name}: the focus of {name} cannot be seen"
            if not is_inside:
                yield f"{page.name}: {name} has the focus outside of the window"
        else:
            yield f"{page.name}: Tab does not leave the page after {most} stops"
        for name in _run(browser, _MISSED):
            yield f"{page.name}: Tab does not reach {name}"
        _run(browser, "document.activeElement.blur()")
        _press(browser, "/")
        if not _run(browser, "return document.activeElement.matches('input[name=q]')"):
            yield f"{page.name}: the key / does not open the search"


def _press(browser: Any, key: str) -> None:
    actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
    data = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
    browser("POST", "/actions", data)


def _run(browser: Any, script: str) -> Any:
    return browser("POST", "/execute/sync", {"script": script, "args": []})


@contextmanager
def _browser() -> Iterator[Any]:
    """Yield a function that sends a command of WebDriver to a new browser."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                _request("GET", f"{address}/status", None)
                break
            except OSError:
                time.sleep(0.1)
        chrome = {"args": list(_ARGUMENTS), "binary": shutil.which("chromium")}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": chrome}}}
        session = _request("POST", f"{address}/session", wanted)["sessionId"]
        base = f"{address}/session/{session}"
        try:
            yield lambda method, path, data: _request(method, base + path, data)
        finally:
            _request("DELETE", base, None)
    finally:
        driver.terminate()
        driver.wait(20)


def _request(method: str, url: str, data: Any) -> Any:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]


if __name__ == "__main__":
    found = [text for name in sys.argv[1:] for text in keyboard_problems(Path(name))]
    sys.exit("\n".join(found))
