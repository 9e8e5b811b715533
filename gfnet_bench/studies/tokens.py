"""Which sizes to measure: `196..4096`, `196,784,3136` or `paper`, to numbers of tokens on square grids."""

from __future__ import annotations

import math

from gfnet_bench.errors import UsageError

PAPER_SIDES = tuple(range(14, 183, 14))
"""The token grids of Figure 2."""

MOST_TOKENS = 1024**2
"""Images of 16,384 x 16,384 pixels; beyond that even the sizes of tensors overflow."""


def parse_tokens(text: str) -> list[int]:
    """Numbers of tokens, each once, growing.

    Args:
        text: `196..4096` (square grids from end to end, about a factor 2 apart), `196,784,3136`, `paper` (the 13 sizes
            of Figure 2), or several of these with commas between them.

    Raises:
        UsageError: if it is none of these, a range is reversed, or a number is no square or out of range.
    """
    found: set[int] = set()
    for part in text.split(","):
        low, dots, high = part.strip().partition("..")
        if part.strip() == "paper":
            found.update(side**2 for side in PAPER_SIDES)
        elif dots:
            found.update(side**2 for side in _between(_side(low, text), _side(high, text), text))
        else:
            found.add(_side(low, text) ** 2)
    return sorted(found)


def _side(text: str, whole: str) -> int:
    if not text.strip().isdecimal():
        raise UsageError(f"--tokens {whole}: expected 196..4096, 196,784,3136 or paper, found {text.strip()!r}.")
    digits = text.strip().lstrip("0")
    if not digits or len(digits) > 8 or int(digits) > MOST_TOKENS:
        raise UsageError(f"--tokens {whole}: expected 1 to {MOST_TOKENS} tokens, found {text.strip()}.")
    tokens, side = int(digits), math.isqrt(int(digits))
    if side**2 != tokens:
        raise UsageError(
            f"--tokens {whole}: expected square numbers, the tokens of a square grid, found {tokens}; "
            f"near ones are {side**2} and {(side + 1) ** 2}."
        )
    return side


def _between(low: int, high: int, text: str) -> list[int]:
    if low > high:
        raise UsageError(f"--tokens {text}: expected the smaller end first; write {high**2}..{low**2}.")
    steps = max(1, round(2 * math.log2(high / low)))
    return sorted({round(low * (high / low) ** (i / steps)) for i in range(steps + 1)})
