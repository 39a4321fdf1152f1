"""The one exception for input that a user can mend, and the words of its message."""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad input: the message names the file or field, the value and what is accepted.

    The command line prints the message without a traceback and exits with code 2.
    """


def shortened(lines: Sequence[str], most: int = 3) -> str:
    """The first of many faults in one line, and how many more there are."""
    more = len(lines) - most
    return "; ".join([*lines[:most], *([f"and {more} more"] if more > 0 else [])])
