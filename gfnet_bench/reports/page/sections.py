"""Parts of the page: a table that sorts and filters, a figure that can be saved, a plot beside its numbers."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gfnet_bench.reports.base import Figure
from gfnet_bench.reports.drawing import emphasis
from gfnet_bench.reports.drawing.plots import Plot
from gfnet_bench.reports.drawing.tables import FORMATS, GAP, RECORDS, Column, Row, Table
from gfnet_bench.reports.drawing.tables import shown as shown_of
from gfnet_bench.reports.page.html import anchor, data_uri, download, esc, packed_script, tag, words
from gfnet_bench.reports.page.provenance import Provenance

_KINDS = {"pdf": "application/pdf", "png": "image/png", "csv": "text/csv", "svg": "image/svg+xml"}
_DOWNLOADS = (("CSV", "csv", "text/csv"), ("LaTeX", "latex", "application/x-tex"), ("Markdown", "md", "text/markdown"))

_PLACES = ("{}", "<b>{}</b>", "<u>{}</u>")
"""What stands out: nothing, the best of a column, the second."""

_LARGEST = 400_000
"""Bytes of a file that is embedded; a larger one is named instead."""

_DRAWN = 60
"""Rows that are elements of the page from the start; the script draws the others when they are scrolled to."""

_FILTERED = 5
"""Rows from which on a table has a filter."""


def table(table: Table, provenance: Provenance, *, folded: bool = False) -> str:
    """A table with its tools and notes.

    Args:
        table: what is shown.
        provenance: where numbers link to.
        folded: closed until asked for.
    """
    name = f"table-{anchor(table.name)}"
    title = tag("h3", esc(table.title), id=f"{name}-title")
    parts = [_tools(table, name)]
    if table.rows:
        parts.append(_grid(table, provenance, name))
    notes = table.remarks
    parts += ["<ul class=notes>" + "".join(f"<li>{esc(note)}" for note in notes) + "</ul>"] if notes else []
    if folded:
        return tag("section", f"<details><summary>{title}</summary>{''.join(parts)}</details>", id=name, class_="table")
    return tag("section", title + "".join(parts), id=name, class_="table")


def _tools(table: Table, name: str) -> str:
    saved = "".join(
        download(label, f"{table.name}.{FORMATS[format].ending}", table.render(format).encode(), kind, table.title)
        for label, format, kind in _DOWNLOADS
    )
    count = f"{len(table.rows)} row{'s' * (len(table.rows) != 1)}"
    search = ""
    if len(table.rows) >= _FILTERED:
        search = (
            f'<label>Filter <span class=unseen>{esc(table.title)}</span> <input type=search data-filters="{name}-grid" '
            f'autocomplete=off></label><output aria-live=polite data-counts="{name}-grid">{count}</output>'
        )
    return f"<div class=tools>{search}<span class=saves>{saved}</span></div>"


def _grid(table: Table, provenance: Provenance, name: str) -> str:
    rows, title = table.rows, table.title
    columns = shown_of(rows, table.columns)
    places = emphasis.places(rows, columns)
    heads = "".join(_head(table, c) for c in columns)
    lines = [
        "".join(_cell(row, c, c is columns[0], provenance, places.get((i, c.key), 0)) for c in columns)
        for i, row in enumerate(rows)
    ]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines[:_DRAWN])
    rest = packed_script(lines[_DRAWN:], id=f"{name}-rest") if len(lines) > _DRAWN else ""
    caption = tag("caption", f"{esc(title)}. Headings sort.", class_="unseen")
    grid = f"<table id={name}-grid>{caption}<thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody></table>{rest}"
    return f'<div class=scroll tabindex=0 role=region aria-labelledby="{name}-title">{grid}</div>'


def _head(table: Table, column: Column) -> str:
    button = f"<button type=button>{esc(column.heading) or 'Mark'}</button>"
    return f"<th scope=col aria-sort={_direction(table, column)}{_side(column)}>{button}</th>"


def _direction(table: Table, column: Column) -> str:
    if column.key != table.ranked:
        return "none"
    return "ascending" if column.better == "lower" else "descending"


def _side(column: Column) -> str:
    return " class=n" if column.align == "right" else ""


def _cell(row: Row, column: Column, is_head: bool, provenance: Provenance, place: int) -> str:
    shown, value = column.text(row), row.get(column.key)
    text = esc(shown)
    link = provenance.link(row.get(RECORDS, {}).get(column.key, ()))
    if link is not None and shown != GAP:
        text = f"<a href={link}>{text}</a>"
    if is_head:
        return f"<th scope=row{_side(column)}>{text}</th>"
    text = _PLACES[place].format(text)
    return f"<td{_side(column)}{_sorted_by(value, shown)}>{text}</td>"


def _sorted_by(value: Any, shown: str) -> str:
    """What the page's script sorts a cell by where that is not what it says: the number itself, or nothing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        exact = f"{value:.6g}" if isinstance(value, float) else str(value)
        return f" data-v={exact}" if exact != shown else ""
    return ' data-v=""' if value is None and shown != GAP else ""


def figure(drawing: Figure) -> str:
    """A drawing with its files; empty where it has none that a browser shows."""
    with TemporaryDirectory() as folder:
        files = {path.suffix[1:]: path.read_bytes() for path in map(Path, drawing.write(Path(folder)))}
    kind = next((kind for kind in ("svg", "png") if kind in files), None)
    if kind is None:
        return ""
    data: Table | None = getattr(drawing, "data", None)
    title = data.title if data and data.title != drawing.name else words(drawing.name)
    about = getattr(drawing, "caption", f"{title}.")
    alt = f"{about} The numbers in it are in the CSV file below."
    shown = _fewer_colours(files[kind]) if kind == "png" else files[kind]
    image = f'<img src="{data_uri(shown, _KINDS[kind])}" alt="{esc(alt)}"{_size(shown, kind)}>'
    saved = [tag("a", kind.upper(), class_="button", download=f"{drawing.name}.{kind}", data_image="")]
    for ending, content in sorted(files.items()):
        file = f"{drawing.name}.{ending}"
        if ending == kind or ending not in _KINDS:
            continue
        if len(content) <= _LARGEST:
            saved.append(download(ending.upper(), file, content, _KINDS[ending], title))
        else:
            saved.append(tag("span", esc(f"{file} ({len(content) / 1e6:.1f} MB) is in the folder of figures")))
    caption = f"<figcaption>{esc(title)} <span class=saves>{''.join(saved)}</span></figcaption>"
    return tag("figure", image + caption, id=f"figure-{anchor(drawing.name)}")


def _fewer_colours(png: bytes) -> bytes:
    """The same picture with a palette: 256 colours are enough for a drawing, and a third of the size."""
    from PIL import Image

    content = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


def _size(content: bytes, kind: str) -> str:
    """Width and height of a PNG, so that nothing jumps while the page is read in; its width on paper, by 300 dpi."""
    if kind != "png":
        return ""
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    return f' width={width} height={height} style="max-width:{width // 3 * 1.3:.0f}px"'


def plot(plot: Plot, provenance: Provenance) -> str:
    """The place of an interactive plot, what it shows, and its numbers as a table."""
    name = f"plot-{anchor(plot.name)}"
    choose = ""
    if plot.choices:
        options = "".join(f"<option>{esc(choice)}" for choice in plot.choices)
        menu = f'{esc(plot.menu)} <select data-chooses="{name}">{options}</select>'
        choose = f"<div class=tools><label>{menu}</label></div>"
    items = [_item(figure) for figure in plot.draw()]
    panels = "".join(f'<div class=panel data-plot="{name}-{i}"></div>' for i in range(len(items)))
    data = "".join(packed_script(item, id=f"{name}-{i}") for i, item in enumerate(items))
    drawn = f'<div class=panels id={name} role=img aria-label="{esc(plot.text)}">{panels}</div>{data}'
    numbers = table(plot.table, provenance, folded=True)
    return tag(
        "section",
        tag("h3", esc(plot.title)) + choose + drawn + tag("p", esc(plot.text), class_="hint") + numbers,
        class_="plot",
    )


def _item(figure: Any) -> dict[str, Any]:
    """What BokehJS draws from, its identifiers counted from 1, since Bokeh's depend on what was drawn before."""
    from bokeh.embed import json_item

    text = json.dumps(json_item(figure))
    numbers: dict[str, str] = {}
    return json.loads(re.sub(r'"p\d+"', lambda m: numbers.setdefault(m[0], f'"p{len(numbers) + 1}"'), text))
