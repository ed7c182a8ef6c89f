"""The explorer in a real Chromium: no error, no overflow, by keyboard, and axe's findings."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import duckdb
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Error, Page, sync_playwright

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
def page() -> Iterator[Page]:
    """Give one page for all tests: a browser's start, and its cache of scripts, are paid once."""
    with sync_playwright() as playwright:
        # without these a sandboxed network makes Chromium ask for its own updates at every start
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        yield context.new_page()
        browser.close()


@pytest.fixture
def errors(page: Page) -> Iterator[list[str]]:
    """Give what the console says is wrong, while a test runs."""
    found: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.append(message.text)

    def thrown(error: Error) -> None:
        found.append(str(error))

    page.on("console", console)
    page.on("pageerror", thrown)
    yield found
    page.remove_listener("console", console)
    page.remove_listener("pageerror", thrown)


def opened(page: Page, address: str, width: int = 1280) -> None:
    """Open a page, and wait until it is drawn to its end: all of it is in sight."""
    page.set_viewport_size({"width": width, "height": 12_000})
    page.goto(address)
    page.wait_for_function("!document.querySelector('[aria-busy], [data-rest]')")
    drawn(page)


def drawn(page: Page) -> None:
    page.wait_for_function("!document.querySelector('.chart:not(:has(svg, canvas))')")


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """Return what axe finds that is serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        (v["id"], [n["html"][:160] for n in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_error_fits_a_telephone_and_axe_finds_nothing_serious(
    page: Page, address: str, errors: list[str], path: str
) -> None:
    page.emulate_media(color_scheme="light")
    opened(page, address + path, width=390)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.set_viewport_size({"width": 1280, "height": 900})
    assert serious(page) == []
    page.emulate_media(color_scheme="dark")
    drawn(page)
    assert serious(page) == []
    assert errors == []


def test_switches_on_the_page_are_the_macros_numbers(
    page: Page, address: str, explored: Warehouse
) -> None:
    opened(page, f"{address}/what-if/kinds?by=background")
    page.get_by_label("L5H4, on: switch off").click()
    page.get_by_label("L5H4, off: switch on").wait_for()
    page.get_by_label("L5H0, on: switch off").click()
    page.get_by_label("L5H0, off: switch on").wait_for()
    assert "heads=L5H4%2CL5H0" in page.url
    shown = page.locator("#groups .facts").inner_text()
    with closing(duckdb.connect(str(explored.database.resolve()), read_only=True)) as con:
        row = con.sql(
            "SELECT before, after FROM group_accuracy('kinds', ['L5H4', 'L5H0'],"
            " by := ['background']) WHERE kind = 'mean'"
        ).fetchall()[0]
    assert f"{row[0]:.1%} → {row[1]:.1%}" in shown


def test_the_keyboard_reaches_a_head_from_the_atlas(page: Page, address: str) -> None:
    opened(page, address)
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


def test_a_picture_pressed_changes_the_nearest_alone(page: Page, address: str) -> None:
    opened(page, f"{address}/head/L5H0")
    page.evaluate("window.here = true")
    link = page.locator("#strip0 a.alike").nth(3)
    key = link.get_attribute("aria-label").removeprefix("pictures alike to ")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('#nearest .asked a').title === '{key}'")
    assert page.evaluate("window.here && document.activeElement.id") == "nearest-title"
    assert f"picture={quote(key, safe='')}" in page.url


def test_a_cell_says_role_and_texts_to_pointer_and_keyboard(page: Page, address: str) -> None:
    opened(page, address)
    page.locator('.grid a[aria-label^="L5H0"]').focus()
    assert "role: background" in page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    page.locator('.grid a[aria-label^="L4H1"]').hover()
    assert "L4H1" in page.locator("#tip").inner_text()


def test_sql_is_copied_as_it_stands(page: Page, address: str) -> None:
    opened(page, f"{address}/head/L5H0")
    details = page.locator("#texts details.sql")
    details.locator("summary").click()
    details.get_by_role("button", name="Copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == details.locator("pre").text_content()
    assert "head_texts('L5H0'" in copied


def test_maps_wait_in_sight_and_are_drawn(page: Page, address: str) -> None:
    opened(page, f"{address}/picture/{KEY}")
    form = page.locator("#maps form")
    form.locator("input[name=text]").fill("an octopus")
    form.get_by_role("button").click()
    assert "model" in page.locator("#maps .mapbox").inner_text()
    page.locator("#maps .mapbox img").wait_for(timeout=60_000)
