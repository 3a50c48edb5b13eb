"""The pages in headless Chromium: by keyboard alone, readable, in languages of both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from ignition_ext.models import Audience, RecipientRow

pytestmark = pytest.mark.timeout(300)

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000
CONTRASTS = """() => {
  const light = (c) => {
    const v = c / 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 };
  const shade = (css) => { const [r, g, b] = css.match(/[\\d.]+/g).map(Number);
    return .2126 * light(r) + .7152 * light(g) + .0722 * light(b) };
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!c.endsWith(", 0)")) return shade(c) } return 1 };
  return [...document.querySelectorAll("h1, p, a, button, label, legend")].map((e) => {
    const [a, b] = [shade(getComputedStyle(e).color), ground(e)].sort((x, y) => y - x);
    return (a + .05) / (b + .05) });
}"""
"""The contrast of each text with what is behind it, by WCAG 2.2's formula."""


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """The browser sees no difference between the engines."""
    return sqlite_database_url


@pytest.fixture
async def tab(site: Any, chromium: str) -> AsyncIterator[Page]:
    """A tab of Debian's Chromium, without scripts; the pages need none."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=list(FLAGS), timeout=PATIENCE_MS
        )
        context = await browser.new_context(
            java_script_enabled=False, viewport={"width": 900, "height": 900}, base_url=site.url
        )
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.set_default_navigation_timeout(PATIENCE_MS)
        yield page
        await browser.close()


async def shoot(page: Page, request: pytest.FixtureRequest, name: str) -> None:
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        await page.screenshot(path=Path(folder) / f"web-{name}.png", full_page=True)


async def test_unsubscribing_by_keyboard(
    site: Any, tab: Page, request: pytest.FixtureRequest
) -> None:
    """The button is the first thing that Tab reaches, and it is seen that it is."""
    await tab.goto(f"/u/{site.token()}?lang=de")
    await expect(tab).to_have_title("Abmelden – Acme & Söhne")
    await tab.keyboard.press("Tab")
    button = tab.get_by_role("button", name="Abmelden")
    await expect(button).to_be_focused()
    await shoot(tab, request, "unsubscribe-de")
    await tab.keyboard.press("Enter")

    await expect(tab.get_by_role("heading", name="Sie sind abgemeldet")).to_be_visible()
    await expect(tab.get_by_role("status")).to_contain_text("a…@example.com")
    await shoot(tab, request, "done-de")
    assert await site.suppressed() == [("email", "ada@example.com", "opt_out")]


async def test_choosing_by_keyboard_from_right_to_left(
    site: Any, tab: Page, request: pytest.FixtureRequest
) -> None:
    """Every choice has a label and is reached in order; Arabic stands on the right."""
    async with site.database.write() as session:
        audience = Audience(tenant_id=site.tenant_id, name="people", generation=1)
        session.add(audience)
        await session.flush()
        session.add(
            RecipientRow(
                tenant_id=site.tenant_id,
                audience_id=audience.id,
                generation=1,
                email="ada@example.com",
                phone="+4915123456001",
            )
        )
    await tab.goto(f"/p/{site.token()}?lang=ar")
    email = tab.get_by_role("checkbox", name="البريد الإلكتروني")
    await expect(email).to_be_checked()
    await tab.keyboard.press("Tab")
    await expect(email).to_be_focused()
    await tab.keyboard.press("Space")
    for _ in range(2):
        await tab.keyboard.press("Tab")
    await tab.keyboard.press("ArrowUp")
    await shoot(tab, request, "preferences-ar")
    await tab.keyboard.press("Enter")

    await expect(tab.get_by_role("status")).to_have_text("تم حفظ تفضيلاتك.")
    await expect(email).not_to_be_checked()
    await expect(tab.get_by_role("radio", name="الرسائل النصية القصيرة")).to_be_checked()
    await shoot(tab, request, "saved-ar")
    assert await site.suppressed() == [("email", "ada@example.com", "opt_out")]


async def test_every_text_can_be_read(site: Any, tab: Page, request: pytest.FixtureRequest) -> None:
    """Contrast of 4.5:1 or more everywhere, and no page is wider than a narrow telephone."""
    await tab.set_viewport_size({"width": 320, "height": 640})
    for path in (f"/u/{site.token()}?lang=el", f"/p/{site.token()}?lang=ja", "/u/x?lang=ru"):
        await tab.goto(path)
        contrasts = await tab.evaluate(CONTRASTS)
        assert len(contrasts) > 17
        assert min(contrasts) >= 4.5
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 320
    await shoot(tab, request, "invalid-ru")
