"""The page in a browser: no error, no request, keyboard, phone and dark mode."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archgym.report import find, read_evidence
from archgym.report.page import write_page
from tests.report.browser import browser

pytestmark = pytest.mark.slow
RIGHT, ENTER = "\ue014", "\ue007"
CELLS = (
    "return [...document.querySelectorAll('[data-part=designs] tr')]"
    ".map(row => row.cells[1].textContent)"
)


@pytest.mark.nightly
def test_the_page_works_by_keyboard_on_a_phone_and_in_the_dark(swept: Path) -> None:
    path = Path("report.html")
    write_page(find(read_evidence([swept])), path)

    with browser() as opened:
        opened.size(1200, 900)
        opened.open(path)
        assert opened.log() == []
        assert opened.run("return document.querySelectorAll('.chart .star').length") == 1
        assert opened.run("return document.querySelectorAll('.figure .main-svg').length") == 0
        opened.unfold()
        assert opened.run("return document.querySelectorAll('.figure .main-svg').length") > 0
        before_log = opened.run("return document.querySelector('.chart .line').getAttribute('d')")
        opened.run("document.querySelector('.chart input').click()")
        drawn = opened.run("return document.querySelector('.chart .line').getAttribute('d')")
        assert drawn != before_log

        before = opened.run(CELLS)
        opened.run("document.querySelector('[data-part=a]').click()")
        for _ in range(3):
            opened.keys("[data-part=plot]", RIGHT)
        # With one objective the front is one design, which A begins with.
        assert opened.run(CELLS) == before
        opened.run(
            "const c = document.querySelector('[data-part=plot]'), b = c.getBoundingClientRect();"
            "for (let x = 80; x < b.width - 20; x += 6) for (let y = 20; y < b.height - 50; y += 6)"
            "c.dispatchEvent(new MouseEvent('click', {clientX: b.left + x, clientY: b.top + y}))"
        )
        assert opened.run(CELLS) != before
        opened.keys("[data-part=plot]", ENTER)
        pressed = "return document.querySelector('[data-part=b]').getAttribute('aria-pressed')"
        assert opened.run(pressed) == "true"

        opened.run(
            "const k = document.querySelector('[data-part=parameter]'); k.value = 0;"
            "k.dispatchEvent(new Event('change'))"
        )
        status = opened.run("return document.querySelector('[data-part=status]').textContent")
        shown, total = (int(part.replace(",", "")) for part in status.split()[:3:2])
        assert 0 < shown < total

        opened.scheme("dark")
        opened.size(390, 844)
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert opened.run(wide) == 0
        assert opened.run("return getComputedStyle(document.body).backgroundColor") != (
            "rgb(255, 255, 255)"
        )
        assert opened.log() == []


def test_the_policy_lets_no_request_out(swept: Path) -> None:
    asked: list[str] = []

    class Ears(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    path = Path("report.html")
    write_page(find(read_evidence([swept])), path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ears)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with browser() as opened:
            opened.open(path)
            address = f"http://127.0.0.1:{server.server_port}/"
            opened.run(
                "new Image().src = arguments[0] + 'image';"
                "fetch(arguments[0] + 'fetch').catch(() => 0);"
                "const s = document.createElement('script'); s.src = arguments[0] + 'script';"
                "document.head.append(s)",
                address,
            )
            opened.run("return new Promise(done => setTimeout(done, 300))")
            refused = [line for line in opened.log() if "Content Security Policy" in line]
    finally:
        server.shutdown()
        server.server_close()

    assert asked == []
    assert len(refused) >= 3
