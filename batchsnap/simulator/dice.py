"""Owns pseudo-randomness by hashing: the same seed and labels always give the same number.

A generator would hand out its numbers in order of arrival, which no two runs share. A hash of
(seed, what the number is for) does not depend on order at all.
"""

from __future__ import annotations

import math
from hashlib import blake2b

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_TWO_64 = float(1 << 64)


def _number(labels: tuple[object, ...]) -> int:
    text = "\0".join(map(str, labels)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def chance(*labels: object) -> float:
    """A number in [0, 1), even over all labels. The first label is the seed by custom."""
    # The top of the range rounds to 2**64, which would give 1.0.
    return min(_number(labels) / _TWO_64, 1.0 - 2.0**-53)


def bell(*labels: object) -> float:
    """A number of the standard normal distribution (Box and Muller's way)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - chance("radius", *labels)))
    return radius * math.cos(math.tau * chance("angle", *labels))


def pick(choices: tuple[str, ...], *labels: object) -> str:
    """One of the choices."""
    return choices[_number(labels) % len(choices)]


def word(*labels: object) -> str:
    """Eight characters of [0-9a-z], the form of the tail of every resource id."""
    number = _number(labels)
    letters = []
    for _ in range(8):
        number, digit = divmod(number, 36)
        letters.append(_ALPHABET[digit])
    return "".join(letters)
