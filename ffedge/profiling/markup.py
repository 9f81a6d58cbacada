"""Pieces of a profile's page as HTML. All text is escaped unless it is ``Html`` already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def markup(text: str) -> Html:
    """``text`` as it may stand in a page, in an attribute as well.

    >>> markup("a < b"), markup(Html("<b>a</b>"))
    ('a &lt; b', '<b>a</b>')
    """
    return text if isinstance(text, Html) else Html(escape(text))


def yes(text: str) -> Html:
    """A green mark."""
    return Html(f'<span class="yes">{markup(text)}</span>')


def no(text: str) -> Html:
    """A red mark."""
    return Html(f'<span class="no">{markup(text)}</span>')


def note(text: str) -> Html:
    """Smaller and paler."""
    return Html(f'<span class="note">{markup(text)}</span>')


def swatch(colour: str) -> Html:
    """A patch of one of the style sheet's colours, beside a name."""
    return Html(f'<span class="swatch" style="background:var(--{colour})"></span>')


def meter(percent: float, full: bool) -> Html:
    """A short bar filled from the left; ``full``: in the colour of too much."""
    kind = ' class="full"' if full else ""
    filled = min(max(percent, 0.0), 100.0)
    return Html(f'<span class="meter"><i style="width:{filled:.1f}%"{kind}></i></span>')


def legend(entries: Sequence[tuple[str, str, str]], label: str) -> Iterator[str]:
    """A list of (colour, name, size or "")."""
    yield f'<ul class="legend" aria-label="{markup(label)}">'
    for colour, name, size in entries:
        behind = f" <b>{markup(size)}</b>" if size else ""
        yield f"<li>{swatch(colour)}{markup(name)}{behind}</li>"
    yield "</ul>"


def facts(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Names and values, side by side where there is room."""
    yield '<dl class="facts">'
    for term, text in pairs:
        yield f"<div><dt>{markup(term)}</dt><dd>{markup(text)}</dd></div>"
    yield "</dl>"


Rows = Sequence[Sequence[str]]


def table(
    caption: str, heads: Sequence[tuple[str, str]], groups: Sequence[tuple[str, Rows]],
    kind: str = "scroll",
) -> Iterator[str]:  # fmt: skip
    """A table in a box that scrolls by itself, not the page with it.

    caption: for those who do not see the page. heads: (text, class of the column's cells).
    groups: (title, or "" for none; rows, each named by its first cell). kind: the box's classes.
    """
    label = markup(caption)
    yield f'<div class="{kind}" tabindex="0" role="region" aria-label="{label}"><table>'
    yield f"<caption>{label}</caption><thead><tr>"
    yield "".join(f'<th scope="col"{_class(of)}>{markup(text)}</th>' for text, of in heads)
    yield "</tr></thead>"
    for title, rows in groups:
        yield "<tbody>"
        if title:
            yield f'<tr><th scope="rowgroup" colspan="{len(heads)}">{markup(title)}</th></tr>'
        for first, *others in rows:
            cells = "".join(
                f"<td{_class(of)}>{markup(cell)}</td>"
                for cell, (_, of) in zip(others, heads[1:], strict=True)
            )
            yield f'<tr><th scope="row">{markup(first)}</th>{cells}</tr>'
        yield "</tbody>"
    yield "</table></div>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
