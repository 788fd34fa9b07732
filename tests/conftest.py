import os

# On shared processors the threads of OpenBLAS wait for each other: tests of small matrices take five times as long.
# It is read when numpy is imported, so it stands before any import of it. A test of threads sets its own number.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import browser
import pytest
from hypothesis import settings

# The same examples on every machine and nothing written to disk; a slow shared processor is no failure.
settings.register_profile("house", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("house")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A browser."""
    driver = browser.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture(params=[400, 800, 1400])
def width(driver, request):
    """A width of the window in pixels."""
    size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield request.param
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def page(driver, address):
    """The page that a module of tests has at its `address`, fresh."""
    yield from browser.visit(driver, address)
