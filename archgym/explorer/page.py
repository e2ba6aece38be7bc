"""The page: one Panel component, served on this computer alone or shown in a notebook.

Panel carries messages between the browser and a `Session`; the drawing is shared with the report.
"""

import errno
import hmac
import logging
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, final

import panel as pn
import param
from bokeh.server.auth_provider import AuthProvider
from panel.custom import JSComponent
from tornado.web import HTTPError

from archgym.errors import StorageError
from archgym.explorer.session import Searches, Session
from archgym.report.page import CONTROLS, asset
from archgym.runtime.closing import Closing
from archgym.tasks.task import Task

_HOST: Final = "127.0.0.1"
# chosen: a page that a browser closed or reloads ends its threads after this time [ms].
_UNUSED_MS: Final = 15_000
_PARTS: Final = ("answer", "changes", "bounds", "cloud", "study")


def _own(name: str) -> str:
    return files("archgym.explorer").joinpath("data", name).read_text(encoding="utf-8")


@final
class Explorer(JSComponent):  # type: ignore[misc]  # Panel has no types
    """Page of one task; a notebook shows it as the value of a cell."""

    space = param.Dict({})
    controls = param.String("")
    is_page = param.Boolean(False)

    _esm = asset("chart.js") + asset("explorer.js") + _own("explore.js")
    # Components live in a shadow tree, whose root is `:host`.
    _stylesheets = (asset("page.css").replace(":root", ":host"), _own("explore.css"))

    def __init__(
        self,
        task: Task,
        folder: Path | None = None,
        searches: Searches | None = None,
        *,
        is_page: bool = False,
    ) -> None:
        """Start a session for a task.

        Args:
          task: Task of the designs.
          folder: Folder of a study or sweep that is followed.
          searches: Searches of all pages of a server; by default the page has its own.
          is_page: True for a whole page, whose address keeps the design.
        """
        self.parts: dict[str, Any] = {}
        """Newest content of each part that the page shows."""
        self._waiting: set[str] = set()
        # One thread sends everything in order; from the server's own some would wait for the next.
        self._sender = ThreadPoolExecutor(1, "archgym-explore-send")
        super().__init__(
            controls=CONTROLS.format(id="explorer", sampled="", numbers=""),
            is_page=is_page,
            sizing_mode="stretch_width",
        )
        self.session = Session(task, self._show, folder, searches)
        self.session.start()

    def _show(self, name: str, content: Any) -> None:
        """Send a part to the browser, from any thread."""
        if name == "space":
            self.space = content
            return
        is_waiting = name in self._waiting
        self.parts[name] = content
        if name in _PARTS:
            self._waiting.add(name)
        if not self.session.is_closed and not is_waiting:
            self._sender.submit(self._send_part, name, content)

    def _send_part(self, name: str, content: Any) -> None:
        """Send the newest content of a part; what it replaced while it waited is never sent."""
        self._waiting.discard(name)
        self._send_msg([name, self.parts[name] if name in _PARTS else content])

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, dict) and data.get("kind") == "hello":
            for name in _PARTS:
                if name in self.parts:
                    self._show(name, self.parts[name])
        else:
            self.session.take(data)

    def close(self) -> None:
        """End the threads of the page."""
        self.session.close()
        self._sender.shutdown(wait=False, cancel_futures=True)


class _Guard(AuthProvider):  # type: ignore[misc]  # Bokeh's types do not allow constants
    """Check of the host of every request; the token is part of the path, which is not guessed."""

    def __init__(self, port: int) -> None:
        self._hosts = (f"{_HOST}:{port}", f"localhost:{port}")
        super().__init__()

    @property
    def get_user(self) -> Callable[[Any], str]:
        return self._checked

    get_user_async = get_login_url = login_handler = logout_url = logout_handler = None
    login_url = "/"

    def _checked(self, handler: Any) -> str:
        request = handler.request
        if not any(hmac.compare_digest(request.host, host) for host in self._hosts):
            raise HTTPError(403)
        # Without it small answers wait 40 ms for those before them.
        request.connection.stream.set_nodelay(True)
        handler.set_header("Referrer-Policy", "no-referrer")
        handler.set_header("Content-Security-Policy", "frame-ancestors 'none'")
        return "you"


@final
class ExploreServer(Closing):
    """Server of the page, reachable from this computer with the token in its address.

    Requests with another `Host` and connections with another `Origin` are refused.

    Example:
        with ExploreServer(Task.make("dram")) as server:
            print(server.url)
            server.serve()
    """

    def __init__(self, task: Task, folder: Path | None = None, port: int = 0) -> None:
        """Open the port.

        Args:
          task: Task of the designs.
          folder: Folder of a study or sweep that is followed.
          port: Port to listen on; 0 takes a free one.

        Raises:
          StorageError: The port is in use or not permitted.
        """
        token = secrets.token_urlsafe(24)
        self.port = _free_port(port)
        self._searches = Searches()

        def made() -> Explorer:
            page = Explorer(task, folder, self._searches, is_page=True)
            pn.state.on_session_destroyed(lambda _: page.close())
            return page

        is_main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGINT) if is_main else None
        logging.getLogger("tornado.access").setLevel(logging.ERROR)
        logging.getLogger("bokeh").setLevel(logging.ERROR)
        self._server = pn.io.server.get_server(
            {f"/{token}": made},
            port=self.port,
            address=_HOST,
            websocket_origin=[f"{_HOST}:{self.port}", f"localhost:{self.port}"],
            auth_provider=_Guard(self.port),
            # An index or a redirect of the root would show the token.
            use_index=False,
            redirect_root=False,
            title="ArchGym",
            show=False,
            start=False,
            verbose=False,
            unused_session_lifetime_milliseconds=_UNUSED_MS,
            check_unused_sessions_milliseconds=_UNUSED_MS // 3,
        )
        if handler is not None:
            # Panel has put its own in place.
            signal.signal(signal.SIGINT, handler)
        self.url = f"http://{_HOST}:{self.port}/{token}"

    def serve(self) -> None:
        """Answer until another thread calls `stop`, or an exception comes."""
        self._server.start()
        self._server.io_loop.start()

    def stop(self) -> None:
        """End `serve`."""
        self._server.io_loop.add_callback(self._server.io_loop.stop)

    def close(self) -> None:
        """Close the port, and stop a search."""
        self._searches.close()
        self._server.stop(wait=False)


def _free_port(port: int) -> int:
    """Return a port that can be opened.

    Raises:
      StorageError: It is in use or not permitted.
    """
    try:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((_HOST, port))
            return int(tried.getsockname()[1])
    except OSError as error:
        reasons = {errno.EADDRINUSE: "is in use", errno.EACCES: "is not permitted"}
        reason = reasons.get(error.errno or 0, "cannot be opened")
        raise StorageError(
            f"Port {port} {reason}. Choose another one with --port, or omit it."
        ) from None
