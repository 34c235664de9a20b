import html.parser

from experiments.page import page

REPORT = """# Numbers

Of two papers.

## One

### Table 1

| ordering | verdict |
| --- | --- |
| psnr of a \\| b above c | held |
| ssim of a very long name of an experiment above another | did not hold |

- a note

![a plot](report/a%20b.png)

## Two

Text with <script>alert(1)</script> & more.
"""
VOID = ("meta", "img", "link", "br")


class Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        told = dict(attrs)
        self.ids += [told["id"]] if told.get("id") else []  # type: ignore[list-item]
        self.links += [told[key] for key in ("href", "src") if told.get(key)]  # type: ignore[misc]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def test_every_tag_is_closed_and_every_link_leads_to_a_heading_or_a_file_beside_it():
    reader = read(page(REPORT))
    assert reader.open == []
    assert reader.ids == ["part-1", "part-2", "part-3"]
    assert reader.links == ["#part-1", "#part-2", "#part-3", "report/a%20b.png"]


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs():
    text = page(REPORT)
    assert "://" not in text
    assert "script" not in read(text).tags
    assert "&lt;script&gt;" in text


def test_verdicts_are_marked_and_long_cells_may_be_broken():
    text = page(REPORT)
    assert '<td class="good">held</td>' in text
    assert '<td class="bad">did not hold</td>' in text
    assert '<td class="long">ssim of a very long name' in text
    assert "<td>psnr of a | b above c</td>" in text


def test_the_title_is_that_of_the_report():
    assert "<title>Numbers</title>" in page(REPORT)
    assert "<nav>" not in page("Only text.\n")
