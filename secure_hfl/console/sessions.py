"""Who may use the console: whoever opened the address that it printed, in that browser, for some hours.

    terminal:  http://127.0.0.1:8470/sign-in?token=...      works once; then another one is printed
    browser:   cookie (HttpOnly, SameSite=Strict)           until sign-out, idle time, age, or the console's end
               + a token in every form                      which other sites cannot know

Tokens are 256 random bits. Only their digests are kept, so that a lookup tells nothing by how long it takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from protocols.core.randomness import OsRandomness

TOKEN_BYTES = 32
IDLE_SECONDS = 2 * 3600.0
AGE_SECONDS = 12 * 3600.0
MAX_SESSIONS = 64


@dataclass
class Session:
    """One signed-in browser.

    Attributes:
        form_token: stands in each of its forms.
        began, seen: on the sessions' clock.
    """

    form_token: str
    began: float
    seen: float

    def __repr__(self) -> str:
        return "Session()"


class Sessions:
    """The signed-in browsers, in memory: a console that is started again wants a new address opened.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}
        self._once: bytes | None = None

    def new_address_token(self) -> str:
        """A token that signs one browser in, once. The one before it works no more."""
        token = _new_token()
        with self._lock:
            self._once = _digest(token)
        return token

    def sign_in(self, token: str) -> str | None:
        """The cookie of a new session; None for a token that is wrong or was used."""
        with self._lock:
            if self._once is None or not compare_digest(self._once, _digest(token)):
                return None
            self._once = None
            cookie, now = _new_token(), self._clock()
            while len(self._sessions) >= MAX_SESSIONS:
                del self._sessions[min(self._sessions, key=lambda each: self._sessions[each].seen)]
            self._sessions[_digest(cookie)] = Session(_new_token(), now, now)
            return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, which is used now; None if there is none, or it is over."""
        key, now = _digest(cookie), self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if now - session.seen > IDLE_SECONDS or now - session.began > AGE_SECONDS:
                del self._sessions[key]
                return None
            session.seen = now
            return session

    def is_open(self, session: Session) -> bool:
        """Whether a session may still be shown what changes: also one that nobody has used. Asking does not use it."""
        with self._lock:
            is_kept = any(each is session for each in self._sessions.values())
            return is_kept and self._clock() - session.began <= AGE_SECONDS

    def sign_out(self, cookie: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(cookie), None)


def is_own_form(session: Session, form_token: str) -> bool:
    """Whether a form came from a page that this session was given."""
    return compare_digest(session.form_token.encode(), form_token.encode("utf-8", "replace"))


def _new_token() -> str:
    return OsRandomness().bytes(TOKEN_BYTES).hex()


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
