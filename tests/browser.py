"""A page in a real browser: going there, reading, pressing, pointing."""

from pathlib import Path

import pytest

_CHROMIUM, _DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
_SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)

BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


def start(folder):
    """Start Debian's chromium with its profile in a folder; skip what needs it where it is missing."""
    if not (_CHROMIUM.exists() and _DRIVER.exists()):
        pytest.skip(f"{_CHROMIUM} or {_DRIVER} is missing: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is missing: pip install selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for switch in (*_SWITCHES, f"--user-data-dir={folder}"):
        options.add_argument(switch)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=str(_DRIVER)))


def written(folder, page):
    """Give the address of a page, once written to a file."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


def visit(driver, address):
    """Give a page, fresh, once; a test fails if the console then holds anything."""
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(address)
    yield driver
    assert driver.get_log("browser") == []


def one(page, selector):
    return page.find_element("css selector", selector)


def texts(page, selector):
    return [node.text for node in page.find_elements("css selector", selector)]


def names(page):
    return texts(page, "tbody tr[data-row] th")


def column(page, name):
    position = texts(page, "thead tr:last-child th").index(name) + 1
    return texts(page, f"tbody tr[data-row] > :nth-child({position})")


def press(page, key):
    from selenium.webdriver import ActionChains

    ActionChains(page).send_keys(key).perform()


def hover(page, node):
    """Move the pointer to a node and, once the page has come to rest, over it: scrolling takes the tip away."""
    from selenium.webdriver import ActionChains

    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", node)
    ActionChains(page).move_to_element(node).pause(0.3).move_by_offset(1, 0).perform()


def says(page, selector, text):
    """Wait for a text: the browser tells of a new address a moment later."""
    from selenium.webdriver.support.wait import WebDriverWait

    script = "return document.querySelector(arguments[0])?.textContent"
    return WebDriverWait(page, 10).until(lambda _: page.execute_script(script, selector) == text)


def opens(page, name):
    """Wait for the panel to show a layer."""
    return says(page, "#panel h2", name)


def sideways(page, selector="html"):
    """Give by how many pixels the content of an element is wider than it."""
    script = "const node = document.querySelector(arguments[0]); return node.scrollWidth - node.clientWidth"
    return page.execute_script(script, selector)
