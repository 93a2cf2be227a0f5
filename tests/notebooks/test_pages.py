"""The rendered pages in a real browser, from disk and with the network off: what a reader sees."""

import html
import os
import re
from pathlib import Path

import pytest

from tests.benchmarks.pages import weights

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
WIDTHS, EVERY_WIDTH = (1280, 390), (1280, 768, 390, 360)
FIGURES = """all => all.map(one => ({
  shown: one.checkVisibility(), width: one.getBoundingClientRect().width, complete: one.complete !== false,
  words: one.getAttribute("alt") || one.getAttribute("aria-label") || ""}))"""

pytestmark = [
    pytest.mark.pages,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: install it, or name one in CHROMIUM"),
]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=WIDTHS)
def width(request) -> int:
    return request.param


@pytest.fixture
def visit(browser, width, site):
    """Open a page, wait for its formulas, and fail on any error in it and on anything asked of the network."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    problems: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.on("requestfailed", lambda request: problems.append(f"{page.url} asks for {request.url}"))
    page.on("request", lambda r: problems.append(r.url) if re.match("https?:|wss?:", r.url) else None)

    def open_page(name: str):
        page.goto(f"file://{site / name}")
        page.wait_for_load_state("load")
        if page.locator(".math").count():
            page.wait_for_function("document.querySelectorAll('.math').length <= "
                                   "document.querySelectorAll('.math mjx-container').length")  # fmt: skip
        return page

    yield open_page
    context.close()
    assert not problems


def names(site: Path) -> list[str]:
    return sorted(str(p.relative_to(site)) for folder in ("book", "notebooks") for p in (site / folder).glob("*.html"))


@pytest.mark.parametrize("width", WIDTHS[:1], indirect=True)
def test_every_page_fits_its_width_and_its_figures_are_shown_and_described(visit, site):
    assert len(names(site)) > 10
    seen = dict.fromkeys(EVERY_WIDTH, 0)
    for name in names(site):
        page = visit(name)
        assert page.locator("article h1").count() == 1, name
        for width in EVERY_WIDTH:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            for found in page.locator("article img, article svg[class^=figure]").evaluate_all(FIGURES):
                if not found["shown"]:
                    continue
                assert found["width"] > 50 and found["complete"], name
                assert len(found["words"]) > 15, f"{name}: a figure without words"
                seen[width] += 1
    assert min(seen.values()) >= 4
    for name in ("genindex.html", "py-modindex.html"):
        assert visit(name).evaluate("document.documentElement.scrollWidth") <= 360, name


@pytest.mark.parametrize("width", WIDTHS[1:], indirect=True)
def test_no_formula_is_cut_on_a_narrow_screen(visit):
    wide = "all => all.filter(one => one.scrollWidth > one.clientWidth + 2).map(one => one.textContent)"
    for name in ("book/method.html", "book/doubt.html"):
        assert not visit(name).locator("mjx-container").evaluate_all(wide), name


def test_no_page_shows_an_object_or_an_open_block(site):
    for name in names(site):
        text = (site / name).read_text(encoding="utf-8")
        assert not re.search(r"&lt;[\w.]+ (object )?at 0x|\{glue", text), name


def test_no_page_is_heavier_than_a_megabyte_no_figure_than_a_fifth_of_it(site):
    for name in names(site):
        weight = weights(site / name)
        assert weight["own_bytes"] <= 1e6 and weight["largest_figure"] <= 2e5, (name, weight)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS[:1], indirect=True)
def test_no_page_has_a_serious_barrier(visit, site, mode):
    """axe-core's rules, contrast among them, on all but the letters inside figures and formulas."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options, serious = {"preload": False, "resultTypes": ["violations"]}, {}
    if mode == "dark":  # the rest is as in light
        options |= {"runOnly": ["color-contrast"]}
    for name in names(site):
        page = visit(name)
        page.add_style_tag(content="* { transition: none !important }")
        page.evaluate("mode => Object.assign(document.documentElement.dataset, {mode, theme: mode})", mode)
        run = axe.run(page, {"exclude": [["article svg"]]}, options)
        found = [f for f in run.response["violations"] if f["impact"] in ("serious", "critical")]
        serious |= {(name, f["id"]): f["nodes"][0]["html"][:200] for f in found}
    assert not serious


def test_no_page_shows_markup(site):
    """A directive or role that was not understood stands there as it was typed, and is no warning."""
    raw = re.compile(r"`{3,}\{\w|\{(glue:\w+|numref|doc|ref|eq|term|cite:\w+|download)\}")
    for name in names(site):
        found = raw.search(html.unescape(re.sub(r"<[^>]+>", "", (site / name).read_text(encoding="utf-8"))))
        assert not found, f"{name}: {found[0]}"


def test_index_leads_to_the_introduction(visit):
    page = visit("index.html")
    page.wait_for_url("**/book/intro.html")
    assert "language model" in page.locator("article h1").inner_text()


def test_formulas_are_drawn_and_numbered(visit):
    page = visit("book/method.html")
    assert page.locator("mjx-container svg").count() > 30
    assert page.locator("mjx-merror, [data-mml-node=merror]").count() == 0
    box = page.locator("#equation-eq-mem mjx-container svg").bounding_box()
    assert box and box["width"] > 100 and box["height"] > 20
    assert page.locator(".eqno").count() > 8


def test_search_finds(visit):
    page = visit("search.html?q=placebo")
    page.wait_for_function("document.querySelector('.search-summary')?.innerText.includes('found')")
    found = page.locator("#search-results li a").all_inner_texts()
    assert "What a sceptic asks" in found and "Glossary" in found
    page.wait_for_selector("#search-results p.context")
    contexts = page.locator("#search-results p.context").all_inner_texts()
    assert len(contexts) == page.locator("#search-results li:not(:has(> span))").count() > 3  # others are functions
    assert sum("placebo" in context.lower() for context in contexts) > len(contexts) / 2
    visit("search.html?q=my+own+model").wait_for_selector("#search-results li a")
    assert "Your model in ten minutes" in page.locator("#search-results li a").first.inner_text()
    visit("search.html?q=zyzzyvas").wait_for_function("!document.querySelector('#search-progress, .dots')?.innerText")
    assert page.locator("#search-results li").count() == 0


def test_a_chapter_ends_with_its_run(visit):
    page = visit("notebooks/06_memorization_analysis.html")
    box = page.locator(".this-run")
    assert box.count() == 1
    assert "factual_qa" in box.inner_text() and "06_memorization_analysis.ipynb" in box.inner_text()
    link = box.locator("a.download")
    assert link.count() == 1 and link.get_attribute("href").endswith("manifest.json")


def test_a_solution_is_hidden_until_asked_for(visit):
    page = visit("notebooks/06_memorization_analysis.html")
    solution = page.locator(".solution.dropdown").first
    inside = solution.locator("p:not(.admonition-title), .cell, ul").first
    assert not inside.is_visible()
    solution.locator(".toggle-button, summary, .admonition-title").first.click()
    assert inside.is_visible()


def test_words_lead_to_the_glossary(visit):
    page = visit("book/method.html")
    page.locator("a[href*='glossary.html#term-document']").first.click()
    page.wait_for_url("**/glossary.html#term-document")
    assert page.locator("#term-document").is_visible()
