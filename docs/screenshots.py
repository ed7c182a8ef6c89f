"""`python -m docs.screenshots WAREHOUSE FOLDER`: the explorer as a real browser draws it.

Needs Chromium (`apt install chromium`); Playwright drives it.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from jobs.explore.serving import serving
from warehouse.files.layout import Warehouse

SHOTS = (
    ("atlas", "/?by=role", "light", 1280, 760),
    ("head", "/head/L5H0", "light", 1280, 1500),
)


def drawn(page: Page) -> None:
    """Wait until a page is drawn to its end: panels that come later, charts, pictures."""
    for _ in range(60):
        page.mouse.wheel(0, 900)
        page.wait_for_timeout(100)
        if not page.locator("[aria-busy]").count():
            break
    page.wait_for_function("!document.querySelector('.chart:not(:has(svg, canvas))')")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function(
        "[...document.images].filter((one) => one.getBoundingClientRect().top < innerHeight)"
        ".every((one) => one.complete && one.naturalWidth)"
    )
    page.wait_for_timeout(500)


def main(root: Path, folder: Path) -> None:
    """Take the pictures of the README and the explorer's page."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with serving(Warehouse(root)) as address, sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        for name, path, scheme, width, height in SHOTS:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page = context.new_page()
            page.goto(address + path)
            drawn(page)
            page.screenshot(path=folder / f"explore-{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
