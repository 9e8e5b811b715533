"""HTML as text, escaped in one place: names come from users and files."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from typing import Any


def esc(text: object) -> str:
    """Text for an element or an attribute in double quotes."""
    return html.escape(str(text), quote=True)


def tag(name: str, content: str = "", **attributes: str | None) -> str:
    """An element around `content`, which is HTML; attributes are text, `class_` is `class`, `_` is `-`."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{esc(value)}"' for key, value in attributes.items() if value is not None
    )
    return f"<{name}{shown}>{content}</{name}>"


def anchor(text: str) -> str:
    """An identifier of letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def words(name: str) -> str:
    """A file name for people."""
    return " ".join(name.replace("_", " ").split())


def json_script(content: Any, **attributes: str) -> str:
    """Data for the page's script: nothing in it can end the element."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for c in "<>&":
        text = text.replace(c, f"\\u{ord(c):04x}")
    return tag("script", text, type="application/json", **attributes)


def packed_script(content: Any, **attributes: str) -> str:
    """Data that would be most of the page, as JSON that is packed; the page's script unpacks it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return json_script(base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(), **attributes)


def data_uri(content: bytes, kind: str) -> str:
    """The content itself as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def download(label: str, file: str, content: bytes, kind: str, about: str = "") -> str:
    """A button that saves a file; it is packed, since tables would make the page half as long again.

    Args:
        label: what it says.
        file: the name it is saved under.
        content: the file.
        kind: its media type.
        about: what the file holds, for those who hear the label without what stands around it.
    """
    spoken = tag("span", esc(f" of {about}"), class_="unseen") if about else ""
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    data = {"data_packed": packed, "data_kind": kind, "data_file": file}
    return tag("button", esc(label) + spoken, type="button", class_="button", **data)


def definitions(pairs: dict[str, Any]) -> str:
    """A list of names and what they are; structures as JSON."""
    rows = "".join(f"<dt>{esc(key)}<dd>{_value(value)}" for key, value in pairs.items())
    return f"<dl>{rows}</dl>" if rows else "<p>Nothing was recorded.</p>"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return esc(f"{value:.6g}")
    if isinstance(value, (dict, list)):
        return tag("code", esc(json.dumps(value, ensure_ascii=False)))
    return "none" if value is None else esc(value)
