"""`secure-hfl identity`: this party's name and certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secure_hfl.cli.output import console, plain, table
from secure_hfl.errors import TaskError

if TYPE_CHECKING:
    from secure_hfl.identity import Identity

Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="This party's name, which lasts; there may be none of another name yet."),
]
Export = Annotated[
    Path | None,
    typer.Option(dir_okay=False, metavar="FILE", help="Write the certificate, which the others need, to FILE."),
]


def register(app: typer.Typer) -> None:
    """Add `identity`."""
    app.command()(identity)


def identity(name: Name = None, export: Export = None) -> None:
    """Show this party's identity; with --name make one if there is none."""
    from secure_hfl.home import home_directory
    from secure_hfl.identity import Identity, directory_in

    home = home_directory()
    own = existing_identity(home) if name is None else Identity.load_or_create(home, name)
    grid = table("", "", header=False)
    grid.add_row("Name", plain(own.name))
    grid.add_row("Fingerprint", plain(own.fingerprint))
    grid.add_row("Path", plain(directory_in(home)))
    if export is not None:
        export_certificate(own.certificate_pem, export)
        grid.add_row("Certificate", plain(f"{export} (public: give it to the other parties)"))
    console().print(grid)


def existing_identity(home: Path) -> Identity:
    """The identity of a home that has one.

    Raises:
        IdentityError: it has none; says how to make one. Its name lasts, so nobody but the party chooses it.
    """
    from secure_hfl.errors import IdentityError
    from secure_hfl.identity import Identity, directory_in

    if not directory_in(home).exists():
        raise IdentityError(
            f"there is no identity in {home} yet. Choose the name that other parties will know this one by; it stands "
            "in the certificate and stays: secure-hfl identity --name NAME"
        )
    return Identity.load_or_create(home)


def export_certificate(pem: bytes, path: Path) -> None:
    """Write a certificate to a new file; a file that holds the same one stays as it is.

    Raises:
        TaskError: the file holds something else, or cannot be written.
    """
    try:
        with path.open("xb") as file:
            file.write(pem)
    except FileExistsError:
        if path.read_bytes() != pem:
            raise TaskError(f"{path} exists and holds something else; give a new file name") from None
    except OSError as error:
        raise TaskError(f"{path}: {error.strerror}") from error
