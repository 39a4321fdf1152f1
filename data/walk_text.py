"""What was driven in many worlds, as one short text: numbers of 16 bits, compressed, in base64."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np

from nco.data.errors import InputError

_MOST = 2**16 - 1


def packed(walks: Sequence[Sequence[int]]) -> str:
    """Each walk's length and its nodes.

    Raises:
        InputError: a node's number or a walk's length is not of 16 bits.
    """
    words = [word for walk in walks for word in (len(walk), *walk)]
    if not all(0 <= word <= _MOST for word in words):
        raise InputError(f"a node or the length of a walk is out of range; accepted: 0 to {_MOST}")
    return base64.b64encode(zlib.compress(np.array(words, dtype="<u2").tobytes(), 9)).decode()


def unpacked(text: str) -> list[list[int]]:
    """What `packed` was given.

    Raises:
        InputError: the text is not one of its.
    """
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        words: list[int] = np.frombuffer(data, dtype="<u2").tolist()
    except (binascii.Error, zlib.error, ValueError) as error:
        raise InputError(f"walks cannot be read ({error}); accepted: text as written") from None
    walks: list[list[int]] = []
    place = 0
    while place < len(words):
        end = place + 1 + words[place]
        walks.append(words[place + 1 : end])
        place = end
    if place != len(words):
        raise InputError("walks end within one of them; accepted: text as written")
    return walks
