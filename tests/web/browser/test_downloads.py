"""Models that are downloaded from the page, each after one question."""

import re

import pytest
from playwright.sync_api import expect

TITLE = "SepFormer, two speakers"


@pytest.fixture
def page(hub, serve, visit):
    page = visit(serve())
    page.locator("body.ready").wait_for()
    page.locator("#offers summary").click()
    return page


def offer(page):
    return page.locator(".offer button").filter(has=page.get_by_text(TITLE, exact=True))


def test_a_model_comes_after_one_question_and_is_then_chosen(hub, page):
    expect(offer(page)).to_contain_text("Apache-2.0")
    expect(page.locator(".offer button", has_text="168 MB · MIT")).to_be_visible()
    offer(page).click()
    dialog = page.get_by_role("dialog", name=TITLE)
    expect(dialog).to_contain_text(re.compile("Licence.*Apache-2.0"))
    dialog.get_by_role("button", name="Cancel").click()
    assert hub.requests == []
    expect(offer(page)).to_be_focused()
    offer(page).click()
    dialog.get_by_role("button", name="Download").click()
    chosen = page.locator(".model", has_text=TITLE).get_by_role("radio")
    expect(chosen).to_be_checked()
    expect(page.locator(".model:has(:checked)")).to_contain_text("downloaded")
    expect(offer(page)).to_have_count(0)
    assert hub.downloads() != []


def test_what_goes_wrong_is_said_in_its_place(hub, page):
    hub.status = 401
    offer(page).click()
    page.get_by_role("button", name="Download", exact=True).click()
    row = page.locator(".offer", has=page.get_by_text(TITLE, exact=True))
    expect(row.locator(".problem")).to_contain_text("The hub has no repository")
    hub.status = None
    offer(page).click()
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.locator(".model", has_text=TITLE).get_by_role("radio")).to_be_checked()


def test_a_missing_package_and_a_missing_licence_are_said_before(hub, page, monkeypatch):
    from unbraid.weights.published import registry

    page.locator(".offer button", has_text="ResUNetDecouple+ for vocals").click()
    expect(page.get_by_role("dialog")).to_contain_text("none stated by its authors")
    page.get_by_role("button", name="Cancel").click()
    monkeypatch.setattr(registry, "find_spec", lambda module: None if module == "demucs" else object())
    page.reload()
    page.locator("#offers summary").click()
    page.locator(".offer button", has_text="with guitar and piano").click()
    expect(page.get_by_role("dialog")).to_contain_text("pip install 'unbraid[zoo]'")
    expect(page.get_by_role("dialog").get_by_role("button", name="Download")).to_have_count(0)
    assert hub.requests == []
