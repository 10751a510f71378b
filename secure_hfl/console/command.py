"""`secure-hfl console`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LOOPBACK = "127.0.0.1"
PORT = 8470

Port = Annotated[int, typer.Option(min=0, max=65535, help="Where it listens. 0: any free port.")]
Address = Annotated[
    str, typer.Option(metavar="ADDRESS", help="On which address. Others than this machine's own need --allow-remote.")
]
Open = Annotated[
    bool | None, typer.Option("--open/--no-open", help="Open it in a browser. Default: where there is a screen.")
]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Let other machines reach it. Needs --tls-cert and --tls-key.")
]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", dir_okay=False, help="The server's certificate (PEM).")
]
Scripts = Annotated[
    list[Path] | None,
    typer.Option(
        "--scripts",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="Scripts that may be started from the page are in here. May be repeated. Default: scripts/ in the "
        "party's directory.",
    ),
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", dir_okay=False, help="Its key (PEM).")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("console")(console)


def console(
    port: Port = PORT,
    address: Address = LOOPBACK,
    open_browser: Open = None,
    allow_remote: AllowRemote = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    scripts: Scripts = None,
) -> None:
    """Create, join, watch and audit tasks in a browser, on this machine.

    It prints an address that signs one browser in. It keeps nothing of its own: started again, it shows the same.
    """
    from protocols.core.errors import MissingExtra

    try:
        from secure_hfl.console.serving import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the console needs {error.name}: pip install 'secure-hfl[console]'") from None
    from secure_hfl.listening import Place

    serve(Place(address, port, tls_cert, tls_key, allow_remote), open_browser, scripts or ())
