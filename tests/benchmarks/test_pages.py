"""The benchmark of pages weighs what a page loads of its own, and says where there is nothing to measure."""

from tests.benchmarks import pages


def test_a_page_weighs_what_it_loads_itself(tmp_path):
    (tmp_path / "_images").mkdir()
    (tmp_path / "_static").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_images" / "a.png").write_bytes(b"x" * 500)
    (tmp_path / "_static" / "theme.js").write_bytes(b"x" * 9000)
    svg = '<svg class="figure-wide" viewBox="0 0 1 1"><path d="é"/></svg>'
    text = f'<script src="../_static/theme.js?d=1"></script><img alt="A" src="../_images/a.png">{svg}'
    page = tmp_path / "notebooks" / "x.html"
    page.write_text(text, encoding="utf-8")
    size = len(text.encode())
    assert pages.weights(page) == {"bytes": size, "own_bytes": size + 500, "largest_figure": len(svg.encode())}


def test_without_a_book_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pages", "--site", str(tmp_path), "--out", str(tmp_path)])
    pages.main()
    assert "build the book first" in capsys.readouterr().err and not list(tmp_path.iterdir())
