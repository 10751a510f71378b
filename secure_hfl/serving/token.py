"""The bearer token of the HTTP server: in a file that only its owner reads, made when there is none."""

from __future__ import annotations

import re
import stat
from hmac import compare_digest
from pathlib import Path

from protocols.core.randomness import OsRandomness
from secure_hfl.errors import ConfigurationError
from secure_hfl.files import write_private

TOKEN_BYTES = 32
FEWEST = 32
"""Characters in a token that somebody has chosen; all printable, as a header takes them."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}")


class Token:
    """What a client must show. Not shown by repr.

    Args:
        text: of it.
        is_new: it was made just now, so that it must be said to somebody.

    Raises:
        ConfigurationError: it is too short, or no header can carry it. Does not show it.
    """

    def __init__(self, text: str, is_new: bool = False) -> None:
        if not _TOKEN.fullmatch(text):
            raise ConfigurationError(
                f"the token must have {FEWEST} to 512 letters, digits or any of ._~+/=- and nothing else; without the "
                "file one is made"
            )
        self._bytes, self.is_new = text.encode(), is_new

    def __repr__(self) -> str:
        return "Token(<secret>)"

    def reveal(self) -> str:
        """The text, for the eyes of whoever has started the server."""
        return self._bytes.decode()

    def fits(self, header: str | None) -> bool:
        """Whether an Authorization header shows it; compared in a time that does not tell where they differ."""
        kind, _, shown = (header or "").partition(" ")
        return kind.lower() == "bearer" and compare_digest(shown.strip().encode(), self._bytes)


def read_or_make(path: Path) -> Token:
    """The token of a file, which is made (0600) where there is none.

    Raises:
        ConfigurationError: the file cannot be used, or others can read it.
    """
    try:
        if not path.exists():
            made = OsRandomness().bytes(TOKEN_BYTES).hex()
            write_private(path, made.encode() + b"\n")
            return Token(made, is_new=True)
        if not path.is_file():
            raise ConfigurationError(f"{path} cannot be used as the token's file: it is no file")
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(f"{path}: others than its owner have access to the token; run chmod 600 {path}")
        return Token(path.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be used as the token's file: {error}") from error
