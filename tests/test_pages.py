"""Pages as they are finished: figures, search and handouts, from files a few lines long."""

import base64
import json
import re
from io import BytesIO

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from taskgram_utils import pages

DRAWING = """<?xml version="1.0"?>
<!DOCTYPE svg>
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="144pt" height="72pt" viewBox="0 0 144 72">
 <metadata><rdf/></metadata><g id="NAME"><path id="m1" style="stroke: #262626; fill: #0072b2"/>
 <use xlink:href="#m1" clip-path="url(#p1)"/></g></svg>"""


def test_figures_are_part_of_their_page_in_its_colour_and_for_both_screens(tmp_path):
    site, run = tmp_path / "site", tmp_path / "run"
    for folder in ("_images", "_static", "notebooks"):
        (site / folder).mkdir(parents=True)
    run.mkdir()
    (site / "_images" / "a.svg").write_text(DRAWING.replace("NAME", "mem"))
    (site / "_images" / "b.svg").write_text(DRAWING.replace("NAME", "figure_1"))
    (run / "mem.svg").write_text(DRAWING.replace("NAME", "mem").replace("144pt", "72pt"))
    (run / "mem.csv").write_text("a\n1\n")
    (run / "older.csv").write_text("a\n1\n")
    image = '<img alt="A &lt;line&gt;" src="../_images/{}.svg" style="width: 80%;"/>'
    (site / "notebooks" / "x.html").write_text(f"<figure>{image.format('a')}</figure>{image.format('b')}")
    pages.finish(site, run, {})
    page = (site / "notebooks" / "x.html").read_text()
    kinds = re.findall(r'svg class="figure-(\w+)" role="img" aria-label="A &lt;line&gt;"', page)
    assert kinds == ["wide", "narrow", "both"]
    assert re.findall(r'style="width: ([\d.]+)in"', page) == ["2.00", "1.00", "2.00"]
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) == 3  # of each drawing the one that its use refers to
    assert {*re.findall(r'href="#([^"]+)"', page)} == {*ids} and page.count("url(#f1w") == 1
    rules = dict(re.findall(r"\.(\w+){([^}]*)}", page))
    assert set(rules.values()) == {"stroke: currentColor; fill: #0072b2"} and len(rules) == 3
    assert {*re.findall('class="(f[^" ]+s0)"', page)} == {*rules}
    assert "currentColor" in page and "#262626" not in page and "metadata" not in page and "<img" not in page
    assert re.findall('href="../run/([^"]+)"', page) == ["mem.csv"]
    assert [path.name for path in (site / "run").iterdir()] == ["mem.csv"]  # no page has the older one


def test_a_cloud_of_points_inside_a_drawing_keeps_its_size_and_few_colours():
    raw = BytesIO()
    Image.effect_noise((40, 30), 90).convert("RGBA").save(raw, "png")
    image = f'<image xlink:href="data:image/png;base64,\n{base64.b64encode(raw.getvalue()).decode()}"/>'
    drawn = pages.inline(f'<svg width="72pt" height="72pt">{image}</svg>', "both", "f1b", "Noise")
    kept = Image.open(BytesIO(base64.b64decode(re.search('base64,([^"]+)"', drawn)[1])))
    assert kept.size == (40, 30) and len(kept.getcolors()) <= 64


def test_search_has_the_text_of_each_section_without_code_to_run(tmp_path):
    for folder in ("_static", "book", "run"):
        (tmp_path / folder).mkdir()
    section = ('<section id="a"><h1>Mem<a class="headerlink" href="#a">#</a></h1><script>x()</script>'
               "<p>of <b>two</b></p></section>")
    page = f'<nav>menu</nav><article class="bd-article" role="main">{section}</article>'
    (tmp_path / "book" / "x.html").write_text(page)
    (tmp_path / "search.html").write_text("<html><head></head></html>")
    pages.finish(tmp_path, tmp_path / "run", {})
    texts = json.loads((tmp_path / "_static" / "texts.js").read_text().removeprefix("const TEXTS = ").rstrip(";\n"))
    assert texts == {"book/x.html": ' <section id="a"> Mem of two </section> ', "search.html": ""}
    assert "_static/texts.js" in (tmp_path / "search.html").read_text()


def kept(name: str, kind: str, text: str):
    meta = {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}}
    return new_output("display_data", {f"application/papermill.record/{kind}": text}, metadata=meta)


def test_a_handout_needs_nothing_of_the_book():
    source = """# Mem

Of {glue:text}`many` pairs {glue:md}`some` {cite:p}`wang2025generalization`, see {numref}`tab-a`, {numref}`fig-b`,
{numref}`tab-elsewhere`, {doc}`04_factual_qa`, {doc}`the rules <../book/method>`, {term}`Mem <mem>` {eq}`eq-mem`.

(sec-here)=
````{table} Two things.
:name: tab-a

```{glue:md} tab-a
:format: myst
```
````

```{exercise} How many? ★
:label: ex-many

Count.
```

```{solution-start} ex-many
:class: dropdown
```"""
    figure = {"mystnb": {"figure": {"name": "fig-b", "caption": "A line."}}, "tags": ["hide-input"]}
    code = new_code_cell("draw()", metadata=figure, outputs=[
        kept("many", "text/plain", "'12'"), kept("some", "text/markdown", "*rise*, see {doc}`x`"),
        kept("tab-a", "text/markdown", "| a |\n|---|\n| 1 |")])  # fmt: skip
    end = new_markdown_cell("So.\n\n```{solution-end}\n```\n\nEnd.")
    cells = [new_markdown_cell(source), new_code_cell("12"), end, code]
    notebook = new_notebook(cells=cells, metadata={"papermill": {"input_path": "all of it"}})
    out = pages.handout(notebook)
    nbformat.validate(out)
    assert "papermill" not in out.metadata
    assert [cell.source for cell in out.cells[1:]] == ["End.", "draw()", "*Figure 1. A line.*"]
    assert out.cells[2].metadata["jupyter"]["source_hidden"] and "jupyter" not in code.metadata
    assert out.cells[0].source == """# Mem

Of 12 pairs *rise*, see *x* (Wang 2025), see Table 1, Figure 1,
a figure or table of the book, *factual qa*, the rules, Mem (an equation of the book).

**Table 1. Two things.**

| a |
|---|
| 1 |

**How many? ★**

Count."""
