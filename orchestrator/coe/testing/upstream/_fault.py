"""What the fake upstream can be told to do wrong, and how it frames what it does right."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """One way in which an upstream behaves. A closed list: tests are parametrised over it.

    "Not streamed" and "streamed" speak of the request's `stream` field.
    """

    NONE = "none"
    """A correct answer."""

    # --- no answer
    REFUSE = "refuse"
    """Nobody listens on the port. Of the whole server, not of one request."""
    RESET = "reset"
    """The connection is reset before any header."""
    CLOSE = "close"
    """The connection is closed cleanly before any header."""
    CLOSE_ON_REUSE = "close-on-reuse"
    """The first request of a connection is answered; a second one meets a close: the idle-timeout race."""
    HANG = "hang"
    """No header before `release()`; then a correct answer."""

    # --- an answer that says no
    SERVER_ERROR = "server-error"
    """Status 500 with an error envelope."""
    UNAVAILABLE = "unavailable"
    """Status 503 with a body that is not JSON, as proxies send it."""
    OVERLOADED = "overloaded"
    """Status 429 with an error envelope and `Retry-After`."""
    REJECTED = "rejected"
    """Status 400 with an error envelope whose `param` is `temperature`."""
    UNAUTHORIZED = "unauthorized"
    """Status 401 with an error envelope."""

    # --- an answer that breaks off or never ends
    RESET_MID_BODY = "reset-mid-body"
    """Headers and about half of the body, then a reset."""
    TRUNCATED = "truncated"
    """Not streamed: a clean close before the announced length. Streamed: a clean end without `[DONE]`."""
    STALL = "stall"
    """Headers and the beginning of the body; the rest only after `release()`."""
    ENDLESS = "endless"
    """Streamed: tokens for ever. Not streamed: a body of white space for ever."""
    HUGE_BODY = "huge-body"
    """An answer of `huge_bytes` characters, in one JSON string."""
    ERROR_FRAME = "error-frame"
    """Streamed: an error event after the first tokens, and no `[DONE]`. Not streamed: as `SERVER_ERROR`."""

    # --- an answer that is not the protocol
    MALFORMED = "malformed"
    """Not streamed: JSON that is cut. Streamed: events whose data is not JSON."""
    NOT_HTTP = "not-http"
    """Bytes that are not HTTP."""
    WRONG_CONTENT_TYPE = "wrong-content-type"
    """Status 200 and an HTML page."""

    # --- correct, but demanding
    SLOW_HEADERS = "slow-headers"
    """A correct answer after `delay_s`."""
    SLOW_TOKENS = "slow-tokens"
    """A correct answer with `delay_s` before every piece of the body."""
    SPLIT = "split"
    """A correct answer in pieces of a few bytes, so that events and headers arrive broken up."""
    INTERIM = "interim"
    """Interim responses (100 and 103) before a correct answer."""
    CLOSE_AFTER_REPLY = "close-after-reply"
    """A correct answer that promises keep-alive, and a close right behind it."""


class Framing(StrEnum):
    """How the end of a correct body is marked."""

    AUTO = "auto"
    """`Content-Length` for one JSON body, chunks for a stream."""
    LENGTH = "length"
    """`Content-Length`, for streams too."""
    CHUNKED = "chunked"
    """`Transfer-Encoding: chunked`, for one JSON body too."""
    CLOSE = "close"
    """HTTP/1.0: the body ends where the connection does."""
