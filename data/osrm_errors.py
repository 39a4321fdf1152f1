"""What can go wrong between us and OSRM, each with a type of its own.

What a user can mend is an `InputError` too, so the command line exits with 2; the rest is a failure
of somebody else's program.
"""

from __future__ import annotations

from typing import final

from nco.data.errors import InputError


class OSRMError(Exception):
    """Anything that OSRM, or the way to it, did not do. Raised only as one of its subclasses."""


@final
class NoConnection(OSRMError, InputError):
    """Nobody answers at the address, or every connection is dropped without an answer."""


@final
class TimedOut(OSRMError, InputError):
    """The server did not answer in time."""


@final
class Refused(OSRMError, InputError):
    """The server does not accept the request; ``code`` is its word for it or the HTTP status."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@final
class NoSegment(OSRMError, InputError):
    """No street within the radius of a point; ``point`` is its index, None where not told."""

    def __init__(self, message: str, point: int | None) -> None:
        super().__init__(message)
        self.point = point


@final
class NoRoute(OSRMError, InputError):
    """There is no way through the points in their order."""


@final
class TooBig(OSRMError, InputError):
    """More coordinates or cells than the server accepts, in a request that cannot be made smaller.

    Until then it is mended without a word: requests are halved.
    """


@final
class ServerFailure(OSRMError):
    """The server answers, also after retries, that it has failed (5xx)."""


@final
class BadAnswer(OSRMError):
    """The answer is not what OSRM's interface promises; this may be another kind of server."""


@final
class ToolsMissing(OSRMError, InputError):
    """OSRM's executables or profiles are not on this machine."""


@final
class ToolFailed(OSRMError, InputError):
    """One of OSRM's executables failed, most often on its input; the message has its last words."""


@final
class SetupFailed(OSRMError):
    """The executables or samples could not be fetched, or are not what they should be."""
