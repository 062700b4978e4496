"""Chromium of the system, driven by Playwright; no browser is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.screenshot import find_browser
from tests.support.wanted import is_missing


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where there is none, which CI takes for a failure."""
    found = find_browser()
    if found is None:
        is_missing("no Chromium: install Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
