"""The real page in the system's Chromium, on a real server with tiny models in a thread of this process."""

import shutil

import pytest
from playwright import sync_api as playwright

from tests.conftest import PATIENCE_SECONDS

playwright.expect.set_options(timeout=1000 * PATIENCE_SECONDS)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_collection_modifyitems(config, items):
    here = __file__.rpartition("conftest")[0]
    chosen = "browser" in (config.getoption("markexpr") or "")
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.browser)
            if not chosen:
                item.add_marker(pytest.mark.skip(reason="drives a browser: make test-browser runs it"))
            elif CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="there is no Chromium on this machine"))


@pytest.fixture(scope="session")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Opens the page as a visitor of one's own; a script error fails the test."""
    errors, contexts = [], []

    def open_page(server, path="/", **settings):
        context = browser.new_context(accept_downloads=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
