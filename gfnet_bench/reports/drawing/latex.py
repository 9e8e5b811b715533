"""Any text as LaTeX: names come from users and files, and `pdflatex` stops at a character it has no glyph for."""

from __future__ import annotations

import re
import unicodedata

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
_CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"

_WRITTEN = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # at the start of a row a bracket would be the argument of the \\ before it, an asterisk its variant
    "*": "{*}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "°": r"$^\circ$",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "√": r"$\surd$",
    **{c: f"$^{i}$" for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{c: f"$_{i}$" for i, c in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{c: rf"$\{name}$" for c, name in zip("αβγδεζηθικλμνξπρστυφχψ", _GREEK.split(), strict=True)},
    **{c: rf"$\{name}$" for c, name in zip("ωςµ", ("omega", "varsigma", "mu"), strict=True)},
    **{c: rf"$\{name}$" for c, name in zip("ΓΔΘΛΞΠΣΥΦΨΩ", _CAPITALS.split(), strict=True)},
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True)),
}

_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c"}


def tex(text: str) -> str:
    """Text mode for `pdflatex` without any package; a character it cannot print is written as its code point."""
    line = re.sub(r"^-(?=[\d.])", "−", " ".join(text.split()))
    written = "".join(_character(c) for c in line)
    return re.sub(r"-(?=-)", "-{}", written)  # the two hyphens of an option are no dash


def _character(c: str) -> str:
    if c in _WRITTEN:
        return _WRITTEN[c]
    if c.isascii() and c.isprintable():
        return c
    base, *marks = list(unicodedata.normalize("NFD", c))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
    return rf"\texttt{{U+{ord(c):04X}}}"
