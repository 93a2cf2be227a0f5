"""The page Explore: its data against brute force, and the page itself in a real browser, from disk."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from taskgram_chapters import explore
from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.language_models.taskgram import taskgram_logp
from taskgram_utils.ngrams import normalize
from taskgram_utils.run.pipeline import corpus, models
from tests.notebooks.test_pages import CHROMIUM, FLAGS
from tests.run.untrained import runs

HOSTILE = 'Who is "Ann" </script><img src=x onerror="window.hit=1"> & Bob\'s 🐈 bob <!-- cat?'
TITLES = {"quiz": "Quiz </option><b>", "empty": "Without examples", "other": "Other"}
BARRED = "no Mem: 0% of the mined pairs are true"
NAMED = [{"name": name, "parameters": size, "by_size": True} for name, size in (("1k", 1000), ("1m", 1_200_000))]


def tables(texts):
    """Two tasks over ``texts``: s^x and s^y are words, two models with log P of their own."""
    rows = [("quiz", "easy_ones", f"q{i}", "ann", sy, cosine) for i, (sy, cosine) in
            enumerate([("cat", 0.9), ("dog", 0.8), ("bird", 0.7), ("dog", 0.6)])]  # fmt: skip
    rows += [("quiz", "easy_ones", "q0", "bob", "cat", 0.5), ("other", "hard", "o0", "bob", "cat", 0.5)]
    grams = pd.DataFrame(rows, columns=["task", "group", "example_id", "sx", "sy", "cosine"])
    grams = grams.assign(n=1, start=0, end=3)
    counts = count_table(ScanCounter(texts, progress=False), pairs=grams, singles=True)
    lm = taskgram_logp(grams, counts)
    keys, place = ["task", "group", "example_id", "n", "sy", "start"], np.arange(len(lm))
    scores = pd.concat([lm[keys].assign(model=model, step=5, tokens=1, logp=logp)
                        for model, logp in (("1k", -2.0 * place), ("1m", 0.1 * place - 3))])  # fmt: skip
    examples = grams.drop_duplicates(["task", "example_id"])[["task", "group", "example_id", "sy"]]
    examples = examples.assign(x=HOSTILE, y=" " + examples.pop("sy").str.title() + " <i>&amp;")
    columns = ["task", "group", "n", "model", "estimate", "low", "high", "points", "barred"]
    families = (("quiz", "easy_ones", None), ("other", "hard", BARRED))
    mem = pd.DataFrame([(task, group, 1, model["name"], 0.5, 0.4, 0.6, 4, barred) for model in NAMED
                        for task, group, barred in families], columns=columns)  # fmt: skip
    return {"evaluated": examples, "taskgrams": grams, "counts": counts, "taskgram_lm": lm, "scores": scores,
            "mem": mem}  # fmt: skip


@pytest.fixture(scope="module")
def hostile():
    texts = [HOSTILE, "Ann, dog & <b>Bob</b>", "a dog", "dog, dog, Ann", "far " * 200 + "Ann " + "away " * 200 + "dog"]
    counter = ScanCounter(texts, progress=False)
    return explore.explore_data(tables(texts), NAMED, counter.documents_with, TITLES, 1, documents=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    opened = runs(tmp_path_factory.mktemp("explore"), tasks=["translation", "world_knowledge"], ngram_sizes=[1, 2])
    return opened()


@pytest.fixture(scope="module")
def data(run):
    return explore.of_run(run, examples=9, pairs=3, documents=2, cloud=30)


# --- the data -------------------------------------------------------------------------------------


def pairs_of(data):
    return [(one["title"], example, pair) for one in data["tasks"] for example in one["examples"]
            for pair in example["pairs"]]  # fmt: skip


def parts(text, marks, side):
    return [normalize(text[start:end]) for start, end, which in marks if which & side]


def test_counts_and_documents_are_those_of_the_text(run, data):
    texts = list(corpus(run))
    words = [f" {normalize(text)} " for text in texts]
    assert len(pairs_of(data)) > 40
    for _, _, pair in pairs_of(data):
        x, y = f" {pair['x']} ", f" {pair['y']} "
        both = [text for text, has in zip(texts, words, strict=True) if x in has and y in has]
        assert pair["counts"] == [len(both), sum(x in has for has in words), sum(y in has for has in words)]
        assert pair["exact"] and [data["documents"][i] for i, _ in pair["documents"]] == both[:2]
        for i, marks in pair["documents"]:
            for side, ngram in ((explore.INPUT, pair["x"]), (explore.OUTPUT, pair["y"])):
                assert ngram in " ".join(parts(data["documents"][i], marks, side))


def test_positions_are_shares_of_the_points_of_one_mem(run, data):
    lm, scores = run.table("taskgram_lm"), run.table("scores")
    keys = ["task", "group", "example_id", "n", "sy", "start"]
    both = lm.dropna(subset=["logp"]).merge(scores, on=keys, suffixes=("_count", ""))
    assert models(run) == ["25k"] and sum(cloud["points"] for cloud in data["clouds"]) == len(both)
    examples, titles = run.table("evaluated"), {"Translation": "translation", "World knowledge": "world_knowledge"}
    for title, example, pair in pairs_of(data):
        group, point = example["group"].replace(" ", "_"), pair["point"]
        chosen = examples[(examples["task"] == titles[title]) & (examples["x"] == example["x"])]["example_id"]
        family = both[(both["task"] == titles[title]) & (both["group"] == group) & (both["n"] == pair["n"])]
        mine = family[family["example_id"].isin(chosen) & (family["sy"] == pair["y"])]
        if point is None:
            assert mine.empty
            continue
        values = mine[["logp_count", "logp"]].to_numpy().round(3).tolist()
        row = mine.iloc[values.index(point["logp"])]
        assert (point["terms"], point["zero"]) == (row["n_terms"], row["n_zero"])
        for at, column in zip(point["at"], ("logp_count", "logp"), strict=True):
            below, same = (family[column] < row[column]).sum(), (family[column] == row[column]).sum()
            assert abs(at - 1000 * (below + same / 2) / len(family)) <= 0.5001
        cloud = data["clouds"][point["cloud"]]
        assert (cloud["n"], cloud["group"], cloud["points"]) == (pair["n"], example["group"], len(family))
        assert [len(values) for values in cloud["at"]] == [min(30, len(family))] * 2


def test_examples_come_from_all_groups_and_are_drawn_by_the_seed(run, data):
    able = run.table("taskgram_lm").dropna(subset=["logp"]).drop_duplicates(["task", "example_id"])
    for name, one in zip(("translation", "world_knowledge"), data["tasks"], strict=True):
        drawn = pd.Series([example["group"] for example in one["examples"]]).value_counts()
        there = able[able["task"] == name]["group"].str.replace("_", " ").value_counts()
        assert drawn.sum() == 9 and set(drawn.index) == set(there.index)
        assert (drawn >= np.minimum(there, 2)).all()
    for _, example, pair in pairs_of(data):
        assert set(parts(example["x"], pair["marks"][0], 1)) == {pair["x"]}
        assert set(parts(example["y"], pair["marks"][1], 2)) == {pair["y"]}
    assert explore.of_run(run, examples=9, pairs=3, documents=2, cloud=30) == data
    assert explore.of_run(run, examples=9, pairs=3, documents=2, cloud=30, seed=1)["tasks"] != data["tasks"]
    assert len(explore.widget(data).encode()) < 1_000_000


def test_a_long_document_is_cut_to_what_is_around_its_ngrams(hostile):
    pair = hostile["tasks"][0]["examples"][1]["pairs"][0]
    assert (pair["x"], pair["y"], pair["counts"][0]) == ("ann", "dog", 3)
    text, marks = next((hostile["documents"][i], marks) for i, marks in pair["documents"]
                       if "far" in hostile["documents"][i])  # fmt: skip
    assert len(text) < 260 and text.startswith(" … ") and text.count(" … ") == 2
    assert [(text[start:end], side) for start, end, side in marks] == [("Ann", 1), ("dog", 2)]
    assert explore.excerpt("Ann Ann Bob", "ann ann", "ann bob")[1] == [(0, 4, 1), (4, 7, 3), (7, 11, 2)]
    assert explore.excerpt("x" * 500, "ann", "bob") == ("x" * 240 + " … ", [])


def test_pairs_to_begin_with():
    def made(at, logp, never, cloud=0):
        values = {"at": [at[0], 0, at[1]], "logp": [0, 0, logp], "cloud": cloud}
        return {"point": {**values, "zero": int(never), "terms": 1}}

    pairs = [made((900, 900), -0.1, False), made((950, 800), -0.1, False), made((900, 100), -3, False),
             made((990, 10), -0.1, False), made((10, 600), -0.1, True), made((10, 900), -1, True), {"point": None},
             made((999, 999), -0.1, False, 1), made((999, 1), -9, False, 1)]  # fmt: skip
    clouds = [{"barred": ""}, {"barred": BARRED}]
    begin = explore.starts([{"examples": [{"pairs": pairs}]}], clouds, 1)
    assert [one["place"] for one in begin] == [(0, 0, 0), (0, 0, 2), (0, 0, 4)]
    assert explore.starts([{"examples": [{"pairs": pairs[3:4]}]}], clouds, 1) == []


def test_the_answer_has_the_mem_of_the_group_on_which_the_page_opens(hostile):
    assert re.sub(r"\s", " ", explore.answer(hostile)).endswith(
        "opens (*easy ones*, $n = 1$) Mem of 1m is .50 [.40, .60], N = 4, with an interval over examples and outputs.")
    i, j, k = hostile["starts"][0]["place"]
    opened = hostile["tasks"][i]["examples"][j]["pairs"][k]["point"]["cloud"]
    larger = {**hostile["clouds"][opened], "points": 10**6, "group": "another"}
    assert "*easy ones*" in explore.answer({**hostile, "clouds": [*hostile["clouds"], larger]})
    barred = [{**cloud, "barred": "reliability .10"} for cloud in hostile["clouds"]]
    unknown = [{**cloud, "estimated": [True, False]} for cloud in hostile["clouds"]]
    for clouds in (barred, unknown, []):
        assert explore.answer({**hostile, "clouds": clouds}).endswith("No group of this run has a Mem.")


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: install it, or name one in CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def shown(browser, tmp_path):
    """Opens what the cell gives out, as a page on disk; fails on any error in it and on anything asked for."""
    context, problems = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}), []
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if not request.url.endswith("page.html") else None)

    def open_page(data, width=1280):
        path = tmp_path / "page.html"
        path.write_text(f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
                        f"<link rel=icon href='data:,'><body>{explore.widget(data)}", encoding="utf-8")  # fmt: skip
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path.as_uri())
        return page

    yield open_page
    context.close()
    assert not [problem for problem in problems if not problem.startswith("data:")]


def test_hostile_text_stays_text(shown, hostile):
    page = shown(hostile)
    page.get_by_label("Task").select_option(index=0)
    assert page.locator(".explore img, .explore b, .explore i").count() == 0
    assert page.evaluate("window.hit") is None
    assert page.get_by_label("Task").locator("option").first.inner_text() == TITLES["quiz"]
    assert page.locator("dd").first.inner_text() == HOSTILE
    assert page.locator("dd").nth(1).inner_text() == "Cat <i>&amp;"
    assert page.locator("dd mark.side-1").all_inner_texts() == ["Ann"]
    assert page.locator(".documents li").all_inner_texts() == [HOSTILE]
    assert page.locator(".documents mark.side-2").all_inner_texts() == ["cat"]  # behind a character of two code units
    data = json.loads(page.locator(".explore script").inner_text())
    assert data["documents"] == hostile["documents"]


def test_choices_by_keyboard_change_the_result(shown, hostile):
    page = shown(hostile)
    result = page.get_by_role("status")
    assert result.get_attribute("aria-live") == "polite"
    task, example, pair, model = (page.get_by_label(name, exact=True) for name in ("Task", "Example", "Pair", "Model"))
    task.select_option(index=0)
    task.focus()
    for name in ("Example", "Next example", "Pair", "Model"):  # in the order in which they are chosen
        page.keyboard.press("Tab")
        focused = page.evaluate("(a => a.ariaLabel || a.labels[0].innerText)(document.activeElement)")
        assert focused == name
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px", name
    assert "1 document contains both ann and cat." in result.inner_text() and "1m gives" in result.inner_text()
    page.keyboard.press("ArrowUp")
    assert "1k gives" in result.inner_text()
    pair.focus()
    page.keyboard.press("ArrowDown")
    assert "both bob and cat" in result.inner_text()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # the next example
    assert example.input_value() == "1" and "3 documents contain both ann and dog" in result.inner_text()
    task.focus()
    page.keyboard.press("ArrowDown")
    assert "both bob and cat" in result.inner_text()
    assert "This group has no Mem (0% of the mined pairs are true)." in page.locator(".part").last.inner_text()
    assert model.input_value() == "0"


def test_the_points_are_where_the_data_are(shown, hostile):
    page = shown(hostile)
    page.get_by_label("Task").select_option(index=0)
    for index in range(4):
        page.get_by_label("Example", exact=True).select_option(index=index)
        point = hostile["tasks"][0]["examples"][index]["pairs"][0]["point"]
        sizes, cloud = page.locator(".explore svg").all()
        across, up = (float(cloud.locator(".this").get_attribute(name)) for name in ("cx", "cy"))
        assert np.isclose(across, 48 + 278 * point["at"][0] / 1000)
        assert np.isclose(up, 256 - 242 * point["at"][2] / 1000)
        of_models = [float(circle.get_attribute("cy")) for circle in sizes.locator("circle").all()]
        assert (np.diff(of_models) < 0).all() == (point["logp"][2] > point["logp"][1])
        axis = [float(text.replace("−", "-")) for text in sizes.locator("text[text-anchor=end]").all_text_contents()]
        assert len(axis) > 1 and len(set(np.diff(axis).round(9))) == 1
        assert "1k" in sizes.get_attribute("aria-label") and "of 100" in cloud.get_attribute("aria-label")


def test_a_pair_without_a_point_and_one_without_documents(shown, hostile):
    changed = json.loads(json.dumps(hostile))
    pair = changed["tasks"][1]["examples"][0]["pairs"][0]
    pair |= {"point": None, "documents": [], "counts": [0, 0, 1]}
    page = shown({**changed, "starts": []})
    page.get_by_label("Task").select_option(index=1)
    text = page.locator(".explore").inner_text()
    assert "No document contains both bob and cat." in page.get_by_role("status").inner_text()
    assert "No document contains bob: the pair gives no count-based log P." in text
    assert page.locator(".explore svg:visible").count() == 0 and page.locator(".starts").count() == 0


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_it_fits_its_width(shown, data, width):
    page = shown(data, width)
    for index in range(len(data["starts"]) + 1):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".explore svg").count() == 2
        if index < len(data["starts"]):
            page.locator(".starts button").nth(index).click()


def test_the_script_is_short():
    script = (explore.project_root() / "book" / "explore.js").read_text(encoding="utf-8")
    assert len(script.splitlines()) <= 300
    assert not re.search(r"innerHTML|https?://(?!www\.w3\.org/2000/svg)|fetch\(", script)
