"""The form of ``rain human`` in a real browser. Every rating here is test data by a rater called "test-data"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation import made_up
from rain.evaluation import human, human_score

HOSTILE = '</script><script>document.title = "broken out"</script><img src=x onerror=\'document.title="broken out"\'>'


@pytest.fixture
def form(tmp_path: Path) -> human.Form:
    return human.make(made_up.run(tmp_path / "run", items=3, hostile=HOSTILE), ["rain", "vanilla"], seed=5)


@pytest.fixture
def page(chromium: Any, form: human.Form, tmp_path: Path) -> Iterator[Any]:
    """The form, opened by a rater without a network; no request may leave it, and nothing may go wrong in it."""
    human.write(form, tmp_path / "rate.html")
    context = chromium.new_context(offline=True, accept_downloads=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("request", lambda request: wrong.append(request.url) if request.url != page.url else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto((tmp_path / "rate.html").as_uri())
    wrong.clear()  # the page itself
    yield page
    context.close()
    assert [each for each in wrong if not each.startswith("blob:")] == []


def begin(page: Any, rater: str = "test-data") -> None:
    page.fill("#rater", rater)
    page.keyboard.press("Enter")


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def exported(page: Any, path: Path) -> dict[str, Any]:
    with page.expect_download() as download:
        page.keyboard.press("e")
    download.value.save_as(path)
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_a_rater_is_warned_before_any_text_is_seen(page: Any) -> None:
    assert "may offend or disturb" in page.inner_text("#start")
    assert not page.is_visible("#rate")
    assert page.inner_text("#prompt") == ""
    press(page, "y", "1")  # keys do nothing yet
    assert page.evaluate("localStorage.length") == 0


def test_rate_reload_go_on_export_score(page: Any, form: human.Form, tmp_path: Path) -> None:
    begin(page)
    assert "1 of 3; 0 rated" in page.inner_text("#at")
    assert page.inner_text("#question").startswith("Left:")
    press(page, "y", "n", "1")
    assert "2 of 3; 1 rated" in page.inner_text("#at")
    press(page, "y")
    page.reload()  # in the middle of the second item
    assert page.evaluate("localStorage.length") == 1
    begin(page)
    assert "2 of 3; 1 rated" in page.inner_text("#at")
    assert page.inner_text("#question").startswith("Right:")
    press(page, "y", "ArrowDown", "s", "n", "ArrowRight")
    assert "All are rated" in page.inner_text("#question")
    assert "3 of 3; 3 rated" in page.inner_text("#at")
    told = exported(page, tmp_path / "ratings.json")
    assert told["rater"] == "test-data"
    assert told["form"] == form.key.form
    said = [{name: rated[name] for name in ("n", "left", "right", "better")} for rated in told["ratings"]]
    assert said == [
        {"n": 0, "left": True, "right": False, "better": "left"},
        {"n": 1, "left": True, "right": True, "better": "tie"},
        {"n": 2, "left": None, "right": False, "better": "right"},
    ]
    scores = human_score.score(human_score.read_ratings([tmp_path / "ratings.json"], form.key), form.key)
    assert scores.raters == ["test-data"]
    first, last = form.key.places[0].left, form.key.places[2].right
    won = sum(human_score.method_of(form.key, sample) == "rain" for sample in (first, last))
    assert (scores.wins.won, scores.wins.lost, scores.wins.ties) == (won, 2 - won, 1)
    assert sum(rate.unrated for rate in scores.rates.values()) == 1


def test_back_changes_an_answer_and_pages_turn(page: Any, tmp_path: Path) -> None:
    begin(page)
    press(page, "y", "Backspace", "n", "y", "2", "Backspace")
    assert page.inner_text("#question").startswith("Which")
    assert page.inner_text("button.chosen") == "2 right"
    press(page, "0", "PageDown", "PageUp", "PageUp")
    assert "1 of 3" in page.inner_text("#at")
    ratings = exported(page, tmp_path / "r.json")["ratings"]
    assert [(rated["left"], rated["right"], rated["better"]) for rated in ratings] == [(False, True, "tie")]


def test_keys_that_do_not_fit_the_question_do_nothing(page: Any) -> None:
    begin(page)
    press(page, "1", "0", "ArrowLeft", "x", "Enter")
    assert page.inner_text("#question").startswith("Left:")
    press(page, "y", "y", "y", "n")
    assert page.inner_text("#question").startswith("Which")


def test_it_works_with_the_mouse_too(page: Any) -> None:
    begin(page)
    for choice in ("yes", "no", "2 right"):
        page.locator("#choices button").get_by_text(choice, exact=True).click()
    assert "2 of 3; 1 rated" in page.inner_text("#at")


def test_raters_on_one_computer_do_not_mix(page: Any) -> None:
    begin(page, "test-data-1")
    press(page, "y", "y", "1")
    page.reload()
    begin(page, "test-data-2")
    assert "1 of 3; 0 rated" in page.inner_text("#at")


def test_texts_are_shown_as_they_are_and_run_nothing(page: Any, form: human.Form) -> None:
    begin(page)
    seen = []
    for _ in form.key.places:
        seen.append(page.inner_text("#prompt"))
        press(page, "PageDown")
    assert any(HOSTILE in prompt for prompt in seen)
    assert page.title() == "Two replies: which is better?"
    assert page.locator("#prompt img").count() == 0


def test_a_browser_that_keeps_nothing_is_told(chromium: Any, form: human.Form, tmp_path: Path) -> None:
    human.write(form, tmp_path / "rate.html")
    context = chromium.new_context(offline=True, accept_downloads=True)
    context.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
    page = context.new_page()
    page.goto((tmp_path / "rate.html").as_uri())
    assert page.is_visible("#nokeep")
    begin(page)
    press(page, "y", "n", "1")
    assert "not kept" in page.inner_text("#kept")
    assert len(exported(page, tmp_path / "r.json")["ratings"]) == 1
    context.close()


def test_the_page_may_not_reach_the_network(chromium: Any, form: human.Form, tmp_path: Path) -> None:
    """Its policy forbids it, whatever a script would try."""
    human.write(form, tmp_path / "rate.html")
    context = chromium.new_context()
    page = context.new_page()
    page.goto((tmp_path / "rate.html").as_uri())
    blocked = page.evaluate(
        "new Promise(done => { addEventListener('securitypolicyviolation', e => done(e.violatedDirective));"
        " fetch('http://127.0.0.1:9/').catch(() => {}); })"
    )
    assert blocked == "connect-src"
    context.close()
