"""The report as a page: its Markdown as one HTML file with a style sheet inside and no script."""

import re
from html import escape

VERDICTS = {"held": "good", "did not hold": "bad", "undecided": "open", "not run": "none"}
LEVELS = ("h2", "h3")  # headings that the contents list
STYLE = """
:root { --ink: #1c2430; --soft: #5c6675; --line: #dde2e8; --band: #f5f7f9; --link: #0b5cad; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 1rem 0; }
h2 { font-size: 1.5rem; margin: 3rem 0 1rem; padding-top: 1rem; border-top: 3px solid var(--ink); }
h3 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; }
h4 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
a { color: var(--link); }
p, li { max-width: 60rem; overflow-wrap: break-word; }
nav { background: var(--band); border-radius: 6px; padding: .8rem 1.2rem; font-size: .92rem; }
nav ul { margin: .2rem 0; padding-left: 1.1rem; }
nav > ul { columns: 17rem; list-style: none; padding-left: 0; }
nav > ul > li { break-inside: avoid; margin-bottom: .5rem; }
.table { overflow-x: auto; margin: .8rem 0; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; white-space: nowrap; }
td.long { white-space: normal; min-width: 18rem; }
th { background: var(--band); border-bottom: 1px solid var(--line); font-weight: 600; }
tr + tr td { border-top: 1px solid var(--line); }
tbody tr:hover { background: var(--band); }
.table + ul, .table + ul + ul { color: var(--soft); font-size: .86rem; padding-left: 1.1rem; }
.good { color: #0a6b3b; font-weight: 600; }
.bad { color: #a12622; font-weight: 600; }
.open { color: #8a5a00; font-weight: 600; }
.none { color: var(--soft); }
img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 4px; }
code { background: var(--band); padding: 0 .25em; border-radius: 3px; }
@media print { nav { display: none; } .table { overflow: visible; } body { font-size: 10pt; } }
"""
_LONG = 46  # characters from which on a cell may take several lines
_CELL = re.compile(r"<td>(.*?)</td>", re.DOTALL)
_HEADING = re.compile(r"<(h[23])>(.*?)</\1>")


def page(markdown: str) -> str:
    """A whole HTML page that shows a report; pictures stay links relative to where it lies."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="table"><table>')
    body = body.replace("</table>", "</table></div>")
    body = body.replace("<img ", '<img loading="lazy" ')
    body, contents = _numbered(_CELL.sub(lambda cell: _cell(cell.group(1)), body))
    first, end, rest = body.partition("</p>")
    title = re.search(r"<h1>(.*?)</h1>", body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title.group(1) if title else 'Report'}</title>\n<style>{STYLE}</style>\n"
        f"</head>\n<body>\n<main>\n{first}{end}\n{contents}{rest}</main>\n</body>\n</html>\n"
    )


def _cell(content: str) -> str:
    """A cell, coloured where it is a verdict and wrapped where it is long."""
    if content in VERDICTS:
        return f'<td class="{VERDICTS[content]}">{content}</td>'
    return f'<td class="long">{content}</td>' if len(content) > _LONG else f"<td>{content}</td>"


def _numbered(body: str) -> tuple[str, str]:
    """The body with an anchor at each heading, and the list of contents that leads there."""
    items: list[tuple[str, str, str]] = []

    def anchored(found: re.Match[str]) -> str:
        level, words = found.groups()
        items.append((level, f"part-{len(items) + 1}", words))
        return f'<{level} id="{items[-1][1]}">{words}</{level}>'

    body = _HEADING.sub(anchored, body)
    return body, _contents(items)


def _contents(items: list[tuple[str, str, str]]) -> str:
    """A nested list of links to headings; nothing without headings."""
    if not items:
        return ""
    lines: list[str] = []
    for level, anchor, words in items:
        link = f'<li><a href="#{escape(anchor)}">{words}</a>'
        if level == LEVELS[0]:
            lines += ["</ul></li>"] if lines else []
            lines.append(f"{link}<ul>")
        else:
            lines.append(f"{link}</li>")
    listed = "\n".join([*lines, "</ul></li>"]).replace("<ul>\n</ul>", "")
    return f"<nav><ul>\n{listed}\n</ul></nav>\n"
