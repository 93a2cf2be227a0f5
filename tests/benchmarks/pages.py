"""The benchmark of the rendered pages, recorded: python -m tests.benchmarks.pages [--site FOLDER] [--out FOLDER]

Every page of the book as it was last built (``make book``), opened from disk in a browser, 1280 × 800 CSS pixels: what
it weighs, how long it is, when it is first painted. Writes pages.csv, a row for each page, and its note.
"""

import argparse
import hashlib
import json
import platform
import re
import sys
import time
from pathlib import Path

import pandas as pd

from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.texts import write_text
from tests.benchmarks.harness import processor

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "book" / "html"
BROWSER, WIDTH, HEIGHT = "/usr/bin/chromium", 1280, 800
PAINTED = "() => performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)"


def weights(path: Path) -> dict[str, int]:
    """Bytes of a page, of what it loads that is its own (not the site's style and scripts), and of its largest
    figure."""
    text = path.read_text(encoding="utf-8")
    figures = [len(svg.encode()) for svg in re.findall(r'(?s)<svg class="figure-.*?</svg>', text)]
    loaded = {(path.parent / link).resolve() for link in re.findall(r'<(?:img|script)[^>]* src="([^"?:]+)', text)}
    others = [file.stat().st_size for file in loaded if "_static" not in file.parts and file.is_file()]
    return {"bytes": path.stat().st_size, "own_bytes": path.stat().st_size + sum(others),
            "largest_figure": max(figures, default=0)}  # fmt: skip


def looked_at(context, path: Path, rounds: int) -> dict[str, float]:
    """Words (without formulas and what is folded away), heights of the screen, and milliseconds to the first paint, the
    median over ``rounds``."""
    paints = []
    for _ in range(rounds):
        page = context.new_page()
        page.goto(f"file://{path}")
        page.wait_for_load_state("load")
        page.wait_for_function(f"({PAINTED})().length")
        paints += page.evaluate(PAINTED)
        height = page.evaluate("document.documentElement.scrollHeight")
        page.evaluate("document.querySelectorAll('mjx-container, article svg').forEach(one => one.remove())")
        words = len(page.locator("article").inner_text().split())
        page.close()
    return {"words": words, "screens": round(height / HEIGHT, 1), "first_paint": round(pd.Series(paints).median())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=SITE)
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--quick", action="store_true", help="one round, not five")
    options, _ = parser.parse_known_args()  # make bench gives its options to every benchmark
    pages = sorted(p for folder in ("book", "notebooks") for p in (options.site / folder).glob("*.html"))
    if not pages or not Path(BROWSER).exists():
        return print("pages are not measured: build the book first, and install chromium", file=sys.stderr)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        rounds = 1 if options.quick else 5
        rows = [{"page": p.relative_to(options.site).as_posix(), **weights(p), **looked_at(context, p, rounds)}
                for p in pages]  # fmt: skip
        named = f"Chromium {browser.version}"
        browser.close()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "pages.csv"
    write_table(pd.DataFrame(rows), path)
    note = {"command": "python -m tests.benchmarks.pages", "date": time.strftime("%Y-%m-%d"), "browser": named,
            "processor": processor(), "machine": f"{platform.machine()}, {platform.system()}", "rounds": rounds,
            "quick": options.quick, "versions": versions(("numpy", "torch", "taskgram_utils", "jupyter-book")),
            "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}}  # fmt: skip
    write_text(options.out / "pages.json", json.dumps(note, indent=1) + "\n")
    print(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    main()
