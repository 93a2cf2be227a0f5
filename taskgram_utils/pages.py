"""Pages: what becomes of a rendered page, and of an executed notebook outside the book."""

import base64
import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from taskgram_utils.texts import write_text

_THOUSANDTHS = re.compile(r"(\b\d*[1-9]\d*\.\d\d)\d+")
TABLE = '<div class="pst-scrollable-table-container">'
SVG = re.compile(r'(?:<a class="[^"]*image-reference[^"]*"[^>]*>)?<img([^>]*) '
                 r'src="([^"]*_images/[^"]+\.svg)"([^>]*)>(?:</a>)?')
_FENCE = re.compile(r"(?ms)^(`{3,})\{(\w+)\} ?([^\n]*)\n((?::[^\n]*\n)*)\n*(.*?)^\1$")
_SOLUTION = re.compile(r"(?m)^`{3,}\{solution-(?:start|end)\}.*\n(?::.*\n)*`{3,}$")


def finish(site: Path, run: Path, sources: Mapping[str, str]) -> None:
    """Mend the rendered pages of ``site``, in place.

    Launch buttons of a page that was filled in for a task open its notebook, whose name is in
    ``sources``. Fonts are not preloaded, which a page opened from disk may not do (icons are drawn
    by a script). The keyboard reaches tables that scroll. Figures become part of their page, with a
    link to their table in ``run``. The texts of all pages lie in a script, for search results.
    """
    texts, tables = {}, set()
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        texts[path.relative_to(site).as_posix()] = _sections(text)
        text = re.sub(r'<link rel="preload" as="font"[^>]*>\n?', "", text)
        text = re.sub(r'<span class="pre">([^<]*)</span>', r"\1", text)  # a fifth of the API
        if path.stem in sources:
            link = rf'(href="https?://[^"]*notebooks/){re.escape(path.stem)}\.ipynb'
            text = re.sub(link, rf"\g<1>{sources[path.stem]}", text)
        text = text.replace('role="doc-biblioentry"', 'role="listitem"')  # what a list may hold
        text = text.replace(TABLE, f'{TABLE[:-1]} tabindex="0" role="region" aria-label="Table">')
        text = SVG.sub(partial(_figure, path, run, itertools.count(1)), text)
        path.write_text(text, encoding="utf-8")
        tables |= set(re.findall(r'href="[./]*/run/([\w-]+\.csv)"', text))
    (site / "run").mkdir(exist_ok=True)
    for name in tables & {path.name for path in run.glob("*.csv")}:  # an older one may lie there
        shutil.copy(run / name, site / "run")
    write_text(site / "_static" / "texts.js", f"const TEXTS = {json.dumps(texts)};\n")
    for path in site.glob("search.html"):
        names = ("texts", "search")
        scripts = "".join(f'<script src="_static/{name}.js"></script>' for name in names)
        write_text(path, path.read_text(encoding="utf-8").replace("</head>", f"{scripts}</head>"))


def _sections(page: str) -> str:
    """The text of a page in its sections, without other elements: what search shows of it."""
    article = re.search(r'(?s)<article class="bd-article".*?</article>', page)
    words = re.sub(r'(?s)<(script|style|svg)\b.*?</\1>|<a class="headerlink".*?</a>', "",
                   article[0] if article else "")
    return re.sub(r"\s+", " ", re.sub(r"<(?!/?section\b)[^>]*>", " ", words))


def _figure(page: Path, run: Path, numbers: Iterator[int], image: re.Match) -> str:
    """The SVG of an image in place of the image: letters and axes have the page's own colour, a
    narrow screen has the drawing for it, and a link leads to the table of the figure."""
    alt, number = re.search(r'alt="([^"]*)"', image[1] + image[3]), next(numbers)
    drawing = (page.parent / image[2]).read_text(encoding="utf-8")
    name = re.search(r'<g id="([\w-]+)">', drawing)[1]
    drawings, narrow = {"both": drawing}, run / f"{name}.svg"
    if narrow.exists():
        drawings = {"wide": drawing, "narrow": narrow.read_text(encoding="utf-8")}
    shown = "".join(inline(text, kind, f"f{number}{kind[0]}", alt[1] if alt else name)
                    for kind, text in drawings.items())
    linked = f'<a class="figure-data" href="../run/{name}.csv" download>CSV</a>'
    return shown + (linked if (run / f"{name}.csv").exists() else "")


def _few_colours(image: re.Match) -> str:
    """An image inside a drawing with 64 colours: an eighth of its bytes."""
    out, raster = BytesIO(), Image.open(BytesIO(base64.b64decode(image[1])))
    raster.quantize(64, method=Image.Quantize.FASTOCTREE).save(out, "png", optimize=True)
    return f"base64,{base64.b64encode(out.getvalue()).decode()}"


def inline(drawing: str, kind: str, prefix: str, words: str) -> str:
    """An SVG as part of a page: its ids are its own there, its black is the page's, and it is made
    small: equal styles are one class, clouds of points have few colours, and comments, unused ids,
    thousandths of a point go."""
    drawing = re.sub(r"(?s)^.*?(?=<svg )|<metadata>.*?</metadata>|<!--.*?-->", "", drawing)
    drawing = re.sub(r'"[^"]*"', lambda m: _THOUSANDTHS.sub(r"\1", m[0]), drawing)
    drawing = re.sub(r"\s*\n\s*", "\n", re.sub("#262626|#000000", "currentColor", drawing))
    drawing = re.sub(r"base64,\s*([\w+/=\s]+)", _few_colours, drawing)
    used = sorted(set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing)))
    ids = {name: f"{prefix}{number}" for number, name in enumerate(used)}
    drawing = re.sub(r' id="([^"]*)"',
                     lambda m: f' id="{ids[m[1]]}"' if m[1] in ids else "", drawing)
    drawing = re.sub(r'(?:xlink:)?(href="#|url\(#)([^")]+)',
                     lambda m: m[1] + ids[m[2]], drawing)
    found = dict.fromkeys(re.findall(r'style="([^"]*)"', drawing))
    styles = {style: f"{prefix}s{number}" for number, style in enumerate(found)}
    drawing = re.sub(r'style="([^"]*)"', lambda m: f'class="{styles[m[1]]}"', drawing)
    rules = "\n".join(f".{name}{{{style}}}" for style, name in styles.items())
    size = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', drawing)
    style = f'style="width: {float(size[1]) / 72:.2f}in"' if size else ""
    drawing = drawing.replace(size[0], style, 1) if size else drawing
    opening = f'<svg class="figure-{kind}" role="img" aria-label="{words}" '
    return re.sub("<svg ([^>]*)>", rf"{opening}\1><style>{rules}</style>", drawing, count=1)


def handout(notebook):
    """A copy of an executed chapter for Jupyter and for slides, which know nothing of the book: its
    prose has the values and tables that were kept for it, figures and tables have numbers,
    references are words, cells that the book folds are folded, and solutions are left out."""
    from nbformat import NotebookNode

    out, kept, numbers, solved = deepcopy(notebook), {}, {}, 0
    for cell in out.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        for name in filter(None, [figure, *re.findall(r"(?m)^:name: (tab-\S+)", cell.source)]):
            kind = "Figure" if name == figure else "Table"
            numbers[name] = f"{kind} {sum(one.startswith(kind) for one in numbers.values()) + 1}"
        for one in cell.get("outputs", ()):
            data = {kind.rpartition("record/")[2]: text
                    for kind, text in one.get("data", {}).items()}
            words = data.get("text/markdown") or data.get("text/html") or data.get("text/plain", "")
            kept[one.get("metadata", {}).get("scrapbook", {}).get("name")] = words.strip("'")

    def block(match: re.Match) -> str:
        name, title, body = match[2], match[3], match[5].strip()
        number = re.search(r":name: (\S+)", match[4])
        title = f"{numbers[number[1]]}. {title}" if name == "table" and number else title
        return f"$$\n{body}\n$$" if name == "math" else f"**{title}**\n\n{body}" if title else body

    def role(match: re.Match) -> str:
        shown, _, target = match[2].rpartition(" <")
        cited = re.sub(r"([a-z]+)(\d{4})\w*", lambda m: f"{m[1].title()} {m[2]}", target)
        words = {"eq": "(an equation of the book)", "ref": "the book", "cite:p": f"({cited})",
                 "numref": numbers.get(target, "a figure or table of the book"), "cite:t": cited,
                 "doc": f"*{Path(target).name.lstrip('0123456789_').replace('_', ' ')}*"}
        return shown or words.get(match[1], target)

    out.metadata.pop("papermill", None)  # which has the notebook as it was, solutions and all
    cells, out.cells = out.cells, []
    for cell in cells:
        parts = _SOLUTION.split(cell.source) if cell.cell_type == "markdown" else [cell.source]
        text, solved = "".join(parts[solved::2]), (solved + len(parts) - 1) % 2
        if cell.cell_type == "markdown":
            text = re.sub(r"```\{glue:\w+\} (\S+)\n(?::.*\n)*```|\{glue:\w+\}`([^`]+)`",
                          lambda m: kept.get(m[1] or m[2], ""), text)
            text = re.sub(r"(?m)^\([\w-]+\)=\n|^<!-- .* -->$", "", text)
            while _FENCE.search(text):
                text = _FENCE.sub(block, text)
            text = re.sub(r"\{([a-z:]+)\}`([^`]+)`", role, text).strip()
        elif {"hide-input", "remove-input"} & set(cell.metadata.get("tags", ())):
            cell.metadata["jupyter"] = {"source_hidden": True}
        cell.source = text
        out.cells += [cell] if text else []
        if figure := cell.metadata.get("mystnb", {}).get("figure") if text else None:
            words = f"*{numbers[figure['name']]}. {figure['caption']}*"
            out.cells.append(NotebookNode(cell_type="markdown", metadata={}, source=words,
                                          id=f"{cell.id}-caption"))
    return out
