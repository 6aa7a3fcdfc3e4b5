"""A report, opened from the disk, has the player of the page."""

from types import SimpleNamespace

from playwright.sync_api import expect

from tests.evaluation.report.test_passages import make_item
from unbraid.evaluation.report.reports import write_examples_report


def test_stems_are_compared_with_the_recording_and_the_references(tmp_path, visit):
    write_examples_report(tmp_path / "report.html", [make_item(), make_item("again")])
    page = visit(SimpleNamespace(url=(tmp_path / "report.html").as_uri()), "")
    first = page.locator(".player").first
    assert page.locator(".player").count() == 2
    assert page.evaluate("() => document.querySelector('.sounds').checkVisibility()") is False

    def gains():
        return page.evaluate("() => document.querySelector('.player').player.transport.gains")

    assert gains() == [0, 1, 0, 0, 1, 0, 0]
    first.get_by_role("button", name="Solo Speaker 2").click()
    assert gains() == [0, 0, 0, 0, 1, 0, 0]
    page.keyboard.press("r")
    expect(first.get_by_role("button", name="References")).to_have_attribute("aria-pressed", "true")
    assert gains() == [0, 0, 0, 0, 0, 1, 0]
    page.keyboard.press("r")
    page.keyboard.press("a")
    assert gains() == [1, 0, 0, 0, 0, 0, 0]
    first.get_by_role("button", name="Play").click()
    first.get_by_role("button", name="Pause").wait_for()
    page.locator(".player").last.get_by_role("button", name="Play").click()
    first.get_by_role("button", name="Play").wait_for()
    heard = page.evaluate(
        "async () => (await document.querySelector('.player').player.transport.piece(0))[4].getChannelData(0).length"
    )
    assert heard == 8000
    page.keyboard.press("v")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
