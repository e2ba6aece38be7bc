"""`archgym mcp`: a server of tools for coding agents."""

import os
from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.terminal import notice
from archgym.errors import InvalidArgumentError

_TOKEN_VARIABLE = "ARCHGYM_MCP_TOKEN"
_MAX_PORT = 65_535


def mcp(
    folder: Annotated[
        Path,
        typer.Argument(help="Working folder: all files that the server reads and writes."),
    ] = Path(),
    transport: Annotated[
        str,
        typer.Option(
            "--transport", help="Transport: stdio, or http (streamable HTTP).", metavar="NAME"
        ),
    ] = "stdio",
    host: Annotated[
        str, typer.Option("--host", help="Loopback address to listen on, with http.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", help="Port to listen on, with http; 0 for a free one.", min=0, max=_MAX_PORT
        ),
    ] = 8765,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            help="Largest sum of the budgets of all studies in the folder (default: no limit).",
            min=1,
        ),
    ] = None,
    allow_external: Annotated[
        bool,
        typer.Option("--allow-external", help="Allow simulators that run other programs."),
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Record all calls and answers in conversation.jsonl of the folder, for "
            "`archgym bench verify`.",
        ),
    ] = False,
) -> None:
    """Serve simulators and studies to coding agents (Model Context Protocol).

    With http, clients send the token of ARCHGYM_MCP_TOKEN, or the one that is printed at the start.
    Nothing outside the working folder is read or written except installed packages and the cache of
    compiled kernels.
    """
    if transport not in ("stdio", "http"):
        raise InvalidArgumentError(f"`--transport` must be stdio or http; got {transport!r}.")
    from archgym.mcp.recording import Recording
    from archgym.mcp.server import (
        install_guard,
        make_server,
        new_token,
        serve_http,
        serve_stdio,
    )
    from archgym.mcp.tools import Toolbox
    from archgym.mcp.workspace import Workspace

    workspace = Workspace(folder, budget=budget, allow_external=allow_external)
    toolbox = Toolbox(workspace, Recording(workspace).add if record else None)
    # Imports the SDK, before files outside the folder are refused.
    make_server(toolbox)
    install_guard(workspace.root, allow_external=allow_external)
    try:
        if transport == "stdio":
            serve_stdio(toolbox)
        else:
            given = os.environ.get(_TOKEN_VARIABLE)
            token = given or new_token()

            def announce(address: str) -> None:
                if given is None:
                    notice(f"Token: {token}")
                notice(f"Listening on {address}")

            serve_http(toolbox, host=host, port=port, token=token, announce=announce)
    finally:
        workspace.close()
