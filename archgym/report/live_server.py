"""Live view of a study or sweep as one page that is served on this computer alone."""

import base64
import errno
import hashlib
import hmac
import json
import secrets
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, cast, final
from urllib.parse import urlsplit

from archgym.errors import StorageError
from archgym.files.json_types import plain
from archgym.report.live import LiveView
from archgym.runtime.closing import Closing

_HOST = "127.0.0.1"
# chosen: several browsers together do not read the journals more often.
_MIN_INTERVAL_S = 0.3
# chosen: seconds after which a silent connection is closed.
_TIMEOUT_S = 30.0
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>ArchGym</title>
<style>{style}</style></head><body>
<h1 id="title">ArchGym</h1><p class="note" id="counts" role="status">Reading the journal …</p>
<progress id="bar" hidden aria-label="Evaluations"></progress>
<p class="warning" id="problem" hidden></p>
<p class="warning" id="lost" hidden>The server does not answer. Is archgym watch still running?</p>
<div id="tasks"></div>
<script>{script}</script></body></html>
"""


@final
class LiveServer(Closing):
    """Server of one page, reachable from this computer with the token in its address.

    It reads and never writes. A request needs the token, and a `Host` header of this computer, so
    that neither other users nor pages of other sites can read the study.

    Example:
        with LiveServer(Path("studies/genetic-0")) as server:
            print(server.url)
            server.serve()
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        """Open the folder and the port.

        Args:
          folder: Folder of a study or of a sweep.
          port: Port to listen on; 0 takes a free one.

        Raises:
          FileFormatError: The folder is neither a study nor a sweep.
          StorageError: The port is in use or not permitted.
        """
        state = _State(LiveView(folder))
        token = secrets.token_urlsafe(24)

        class Handler(_Handler):
            pass

        Handler.state, Handler.token = state, token
        try:
            self._server = _Server((_HOST, port), Handler)
        except OSError as error:
            reasons = {errno.EADDRINUSE: "is in use", errno.EACCES: "is not permitted"}
            reason = reasons.get(error.errno or 0, "cannot be opened")
            raise StorageError(
                f"Port {port} {reason}. Choose another one with --port, or omit it."
            ) from None
        self.port = int(self._server.server_address[1])
        self.url = f"http://{_HOST}:{self.port}/{token}/"

    def serve(self) -> None:
        """Answer requests until another thread calls `stop`, or an exception comes."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """End `serve`."""
        self._server.shutdown()

    def close(self) -> None:
        """Close the port."""
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that close a connection early."""


class _State:
    """View that one thread at a time updates, and its last answer."""

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._lock = threading.Lock()
        self._updated = -1.0
        self._version = 0
        self._digest = b""
        self._content = b""
        self._has_more = False

    def answer(self, since: int) -> bytes:
        """Return the state as JSON; a short answer if the browser has it already."""
        with self._lock:
            if time.monotonic() - self._updated >= _MIN_INTERVAL_S or self._has_more:
                self._has_more = self._view.update()
                state = json.dumps(plain(self._view.to_json()), separators=(",", ":")).encode()
                digest = hashlib.sha256(state).digest()
                if digest != self._digest:
                    self._version += 1
                    self._digest, self._content = digest, state
                self._updated = time.monotonic()
            more = b"true" if self._has_more else b"false"
            head = b'{"version":%d,"more":%s' % (self._version, more)
            return head + (b"}" if since == self._version else b"," + self._content[1:])


class _Handler(BaseHTTPRequestHandler):
    """Handler of GET for the page and its data; other methods are refused."""

    state: ClassVar[_State]
    token: ClassVar[str]
    timeout = _TIMEOUT_S
    protocol_version = "HTTP/1.1"
    server_version = "archgym"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page or the data."""
        port = cast(_Server, self.server).server_port
        if self.headers.get("Host") not in (f"{_HOST}:{port}", f"localhost:{port}"):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"Wrong host.\n")
            return
        parts = urlsplit(self.path)
        _, _, rest = parts.path.partition("/")
        token, _, name = rest.partition("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"Wrong token.\n")
        elif name == "":
            content, policy = _page()
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", content, policy)
        elif name == "data":
            since = parts.query.removeprefix("since=")
            number = int(since) if since.isascii() and since.isdigit() and len(since) < 16 else -1
            self._send(HTTPStatus.OK, "application/json", self.state.answer(number))
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"Not found.\n")

    def _send(
        self, status: HTTPStatus, kind: str, content: bytes, policy: str = "default-src 'none'"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: requests hold the token."""


def _page() -> tuple[bytes, str]:
    """Return the page, which holds nothing of the study, and its content security policy."""
    data = files("archgym.report").joinpath("data")
    style, chart, watch = (
        data.joinpath(name).read_text(encoding="utf-8")
        for name in ("page.css", "chart.js", "watch.js")
    )
    script = chart + watch
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return _PAGE.format(style=style, script=script).encode(), policy
