"""For everybody: by keyboard alone, with a screen reader, on a telephone, and without anything that jumps."""

import pytest
from playwright.sync_api import expect

from tests.web.browser.test_page import listen, player, row, send
from tests.web.conftest import noise, wav

CONTROLS = {"button", "link", "textbox", "combobox", "radio", "checkbox", "slider", "spinbutton", "searchbox"}
MOST_TABS = 60
FOCUS_IS_SEEN = """() => {
  const own = document.activeElement;
  const places = [own, own.closest('.model'), own.closest('.map')].filter(Boolean);
  const seen = (style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  return places.map((one) => getComputedStyle(one)).some(seen);
}"""

SHIFTS = """() => new Promise((resolve) => {
  const seen = [];
  const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
  observer.observe({ type: 'layout-shift', buffered: true });
  const told = (entry) => [entry.value, entry.sources.map((one) => one.node?.className ?? '')];
  setTimeout(() => resolve(seen.map(told)), 500);
})"""


def tab_to(page, name, backwards=False):
    """Moves the focus until it is on what a screen reader calls so; it is seen at every stop."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if page.evaluate("() => document.activeElement === document.body"):
            continue
        assert page.evaluate(FOCUS_IS_SEEN), page.evaluate("() => document.activeElement.outerHTML")
        if f'"{name}' in page.locator(":focus").aria_snapshot():
            return
    raise AssertionError(f"the tab key does not lead to {name}")


def test_from_the_upload_to_the_download_by_keyboard_alone(serve, visit):
    page = visit(serve())
    page.locator("body.ready").wait_for()
    tab_to(page, "Choose files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([{"name": "talk.wav", "mimeType": "audio/wav", "buffer": wav(noise(4.0))}])
    expect(row(page, "talk.wav")).to_have_attribute("data-state", "done")
    tab_to(page, "Listen to talk.wav")
    page.keyboard.press("Enter")
    page.locator(".transport").wait_for()
    tab_to(page, "Position")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert player(page, "transport.position") == pytest.approx(1600, abs=1)
    tab_to(page, "Solo Dialogue")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Solo Dialogue")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    tab_to(page, "Mute Dialogue")
    page.keyboard.press("Enter")
    assert player(page, "transport.gains") == [0, 0, 1, 1]
    tab_to(page, "Download Dialogue")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "talk - dialogue.wav"
    tab_to(page, "Gain of Music")
    page.keyboard.press("ArrowLeft")
    assert player(page, "stems[1].db") == -0.5
    tab_to(page, "Play")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.wait_for_function("() => document.querySelector('#player').player.transport.position > 1600")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Play").wait_for()


def test_a_screen_reader_is_told_what_every_control_is(serve, visit):
    page = visit(serve())
    send(page, ("talk.wav", wav(noise(1.0))))
    expect(row(page, "talk.wav")).to_have_attribute("data-state", "done")
    page.locator("#offers summary").click()
    page.locator("details.more summary").last.click()
    assert len(named(page)) > 30
    page.locator(".offer button").first.click()
    named(page)
    page.keyboard.press("Escape")
    listen(page, "talk.wav")
    assert {"Solo Music", "Mute Music", "Gain of Music", "Position", "Play", "Save remix"} <= set(named(page))
    page.get_by_role("button", name="Separate again").click()
    assert {"What", "With"} <= set(named(page))


def named(page):
    """Names of all controls in the tree that Chromium gives to screen readers; none may lack one."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    controls = [node for node in tree if not node["ignored"] and node["role"]["value"].lower() in CONTROLS]
    names = [node.get("name", {}).get("value", "") for node in controls]
    assert [node["role"]["value"] for node, name in zip(controls, names, strict=True) if not name.strip()] == []
    return names


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_is_wider_than_the_screen(serve, visit, width):
    page = visit(serve(), viewport={"width": width, "height": 844})

    def fits():
        return page.evaluate("() => document.documentElement.scrollWidth") <= width

    name = "a recording with a name that is far too long to stand in one line of a telephone.wav"
    send(page, (name, wav(noise(1.0))))
    expect(row(page, name)).to_have_attribute("data-state", "done")
    page.locator("#offers summary").click()
    page.locator("details.more summary").last.click()
    assert fits()
    page.locator(".offer button").first.click()
    assert fits()
    page.keyboard.press("Escape")
    listen(page, name)
    assert fits()
    page.keyboard.press("v")
    assert fits()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_jumps_while_a_recording_is_separated(serve, visit, width):
    page = visit(serve(), viewport={"width": width, "height": 844})
    send(page, ("talk.wav", wav(noise(20.0))))
    expect(row(page, "talk.wav")).to_have_attribute("data-state", "done")
    page.wait_for_timeout(500)
    shifts = page.evaluate(SHIFTS)
    assert sum(value for value, _ in shifts) < 0.1, shifts
