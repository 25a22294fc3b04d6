"""The report in a real browser: it loads nothing, runs nothing, and its policy lets its style and drawings through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation import made_up
from rain.evaluation import report

HOSTILE = "<script>document.title='broken out'</script><img src=x onerror=\"document.title='broken out'\">"


def test_the_report_opens_whole_without_a_network(chromium: Any, tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.4, "rain": 0.9, "best-of-n": 0.6}, items=2, hostile=HOSTILE)
    (tmp_path / "r.html").write_text(report.html(report.build([folder])), encoding="utf-8")
    context = chromium.new_context(offline=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("request", lambda request: wrong.append(request.url) if request.url[:5] not in ("file:", "data:") else None)
    page.on("console", lambda said: wrong.append(said.text))
    page.goto((tmp_path / "r.html").as_uri())
    page.locator("details").first.locator("summary").first.click()
    assert HOSTILE in page.inner_text("body")
    assert page.title() == "RAIN: report"
    drawings = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert drawings
    assert all(width > 100 for width in drawings)
    assert page.evaluate("getComputedStyle(document.querySelector('.side')).borderTopWidth") == "1px"
    assert wrong == []
    context.close()
