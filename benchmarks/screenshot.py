"""Take a picture of the first screen of a report: python -m benchmarks.screenshot PAGE PICTURE."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1280, 860


def find_browser() -> str | None:
    """The system's Chromium; None is downloaded."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def take(page: Path, picture: Path) -> None:
    """Open the page as on a desk and write what is seen first as PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        opened.goto(page.absolute().as_uri())
        opened.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_file():
        sys.exit(f"error: expected PAGE PICTURE, an existing report.html and where to write, got {sys.argv[1:]}")
    if find_browser() is None:
        sys.exit("error: no Chromium found; install Debian's package chromium")
    take(Path(sys.argv[1]), Path(sys.argv[2]))
