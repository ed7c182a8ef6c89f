"""The explorer in a real Chromium: no error, no overflow, by keyboard, and axe's findings."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import duckdb
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from jobs.explore.serving import serving
from warehouse.files.layout import Warehouse

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

KEY = quote("images/000001.png", safe="")
PAGES = (
    "/?by=role",
    "/head/L5H0",
    "/roles",
    "/role/colour",
    f"/picture/{KEY}",
    "/what-if/kinds?heads=L5H0,L4H1&by=background",
    "/search?text=red",
    "/compare",
    "/sql?q=FROM+heads",
    "/runs",
)


@pytest.fixture(scope="module")
def address(explored: Warehouse) -> Iterator[str]:
    with serving(explored) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # without these a sandboxed network makes Chromium ask for its own updates at every start
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield opened
        opened.close()


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme=request.param
    )
    yield context.new_page()
    context.close()


def opened(page: Page, address: str) -> list[str]:
    """Open a page, wait until it is drawn to its end, and return the console's errors."""
    errors: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(address)
    for _ in range(40):
        page.mouse.wheel(0, 1200)
        page.wait_for_timeout(50)
        if not page.locator("[aria-busy]").count():
            break
    page.wait_for_function("!document.querySelector('.chart:not(:has(svg, canvas))')")
    return errors


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_error_and_axe_finds_nothing_serious(
    page: Page, address: str, path: str
) -> None:
    assert opened(page, address + path) == []
    found = Axe().run(page).response["violations"]
    serious = [
        (v["id"], [n["html"][:160] for n in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == [], json.dumps(serious, indent=1)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_telephone(browser: Browser, address: str, path: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    assert opened(page, address + path) == []
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    context.close()
    assert wide <= 0


def test_switches_on_the_page_are_the_macros_numbers(
    browser: Browser, address: str, explored: Warehouse
) -> None:
    page = browser.new_page()
    opened(page, f"{address}/what-if/kinds?by=background")
    page.get_by_label("L5H4, on: switch off").click()
    page.get_by_label("L5H4, off: switch on").wait_for()
    page.get_by_label("L5H0, on: switch off").click()
    page.get_by_label("L5H0, off: switch on").wait_for()
    assert "heads=L5H4%2CL5H0" in page.url
    shown = page.locator("#groups .facts").inner_text()
    page.close()
    with closing(duckdb.connect(str(explored.database.resolve()), read_only=True)) as con:
        row = con.sql(
            "SELECT before, after FROM group_accuracy('kinds', ['L5H4', 'L5H0'],"
            " by := ['background']) WHERE kind = 'mean'"
        ).fetchall()[0]
    assert f"{row[0]:.1%} → {row[1]:.1%}" in shown


def test_the_keyboard_reaches_a_head_from_the_atlas(browser: Browser, address: str) -> None:
    page = browser.new_page()
    opened(page, address)
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.grid') !== null"):
            break
    name = page.evaluate("document.activeElement.getAttribute('aria-label')").split(":")[0]
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/head/{name}")
    page.close()


def test_a_picture_pressed_changes_the_nearest_alone(browser: Browser, address: str) -> None:
    page = browser.new_page()
    opened(page, f"{address}/head/L5H0")
    page.evaluate("window.here = true")
    link = page.locator("#strip0 a.alike").nth(3)
    key = link.get_attribute("aria-label").removeprefix("pictures alike to ")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('#nearest .asked a').title === '{key}'")
    assert page.evaluate("window.here && document.activeElement.id") == "nearest-title"
    assert f"picture={quote(key, safe='')}" in page.url
    page.close()


def test_a_cell_says_role_and_texts_to_pointer_and_keyboard(browser: Browser, address: str) -> None:
    page = browser.new_page()
    opened(page, address)
    page.evaluate("scrollTo(0, 0)")
    page.locator('.grid a[aria-label^="L5H0"]').focus()
    assert "role: background" in page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    page.locator('.grid a[aria-label^="L4H1"]').hover()
    assert "L4H1" in page.locator("#tip").inner_text()
    page.close()


def test_sql_is_copied_as_it_stands(browser: Browser, address: str) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    opened(page, f"{address}/head/L5H0")
    details = page.locator("#texts details.sql")
    details.locator("summary").click()
    details.get_by_role("button", name="Copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == details.locator("pre").text_content()
    assert "head_texts('L5H0'" in copied
    context.close()


def test_maps_wait_in_sight_and_are_drawn(browser: Browser, address: str) -> None:
    page = browser.new_page()
    opened(page, f"{address}/picture/{KEY}")
    form = page.locator("#maps form")
    form.locator("input[name=text]").fill("an octopus")
    form.get_by_role("button").click()
    assert "model" in page.locator("#maps .mapbox").inner_text()
    page.locator("#maps .mapbox img").wait_for(timeout=60_000)
    page.close()
