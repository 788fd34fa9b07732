"""The page of trends in a real browser; skipped where Debian's chromium is missing."""

import itertools

import numpy as np
import pytest
from browser import one, press, says, sideways, texts, visit, written
from trends import page_sample as sample

from heavytail.trends import trends
from heavytail.trends.metrics import METRICS
from heavytail.trends.page import render


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("trends"), render(trends(sample.table())))


def choose(page, name):
    one(page, f'#metrics input[value="{name}"] + span').click()
    shows(page, name)


def shows(page, name):
    """Wait for the panels of a metric."""
    return says(page, "#series-title bdi", name)


def panel(page, series):
    return next(card for card in page.find_elements("css selector", ".panel") if one(card, "h3").text == series)


def verdicts(page):
    return {
        one(card, "h3").text: texts(card, "header .verdict-of") for card in page.find_elements("css selector", ".panel")
    }


def places(page, card):
    script = "return [...arguments[0].querySelectorAll('.point')].map(p => [p.dataset.tip.split('\\n')[0], " \
        "p.transform.baseVal[0].matrix.e, p.transform.baseVal[0].matrix.f])"  # fmt: skip
    return {name: (left, top) for name, left, top in page.execute_script(script, card)}


def test_it_opens_on_the_best_supported_metric(page):
    assert one(page, "#metrics input:checked").get_attribute("value") == "alpha"
    assert one(page, "#reading bdi").text == "alpha"
    assert texts(page, ".panel h3") == ["All series pooled", "Wide", "Deep", "Small", "Pair"]
    assert "Lone (1)" in one(page, "#small").text


def test_another_metric_changes_panels_and_table(page):
    before = places(page, panel(page, "Deep"))
    choose(page, "log_norm")
    after = places(page, panel(page, "Deep"))
    assert before.keys() == after.keys()
    assert before != after
    assert set(texts(page, ".panel svg .title:nth-last-child(2)")) == {METRICS["log_norm"].title}
    assert one(page, "#series-title").text == "Series: log_norm"
    assert len(places(page, panel(page, "Wide"))) == 2
    assert "6 of 22 models have no value of log_norm" in one(page, "#small").text


def test_metrics_are_chosen_with_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    names = [node.get_attribute("value") for node in page.find_elements("css selector", "#metrics input")]
    page.execute_script("document.querySelector('#metrics input:checked').focus()")
    press(page, Keys.ARROW_RIGHT)
    assert shows(page, names[1])
    press(page, Keys.ARROW_LEFT)
    assert shows(page, names[0])


def test_the_address_names_the_metric(driver, address):
    for page in visit(driver, f"{address}#metric=stable_rank"):
        assert shows(page, "stable_rank")
        one(page, '#overview-table a[href="#metric=alpha"]').click()
        assert shows(page, "alpha")
        page.back()
        assert shows(page, "stable_rank")


def test_marks_stand_where_the_numbers_say(page):
    table = sample.table()
    for series in ("All series pooled", "Wide", "Deep", "Small"):
        found = places(page, panel(page, series))
        rows = [table.models.index(name) for name in found]
        assert len(rows) == (len(table.models) if series == "All series pooled" else sample.SIZES[series])
        left, top = np.array(list(found.values())).T
        assert np.corrcoef(left, table.metrics["alpha"][rows])[0, 1] == pytest.approx(1, abs=1e-5)
        assert np.corrcoef(top, table.quality[rows])[0, 1] == pytest.approx(-1, abs=1e-5)


def test_every_panel_says_its_verdict_in_a_word(page):
    found = verdicts(page)
    assert found.pop("All series pooled") == ["opposes the series"]
    assert found == {"Wide": ["supported"], "Deep": ["supported"], "Small": ["too few"], "Pair": ["too few"]}


def test_the_paradox_is_told_where_it_shows(page):
    assert "the line through all models rises, within series it falls" in one(page, ".pooled .paradox").text
    slopes = "return [...document.querySelectorAll('.pooled .fit, .pooled .segment')].map(l => " \
        "Math.sign(l.y1.baseVal.value - l.y2.baseVal.value))"  # fmt: skip
    assert page.execute_script(slopes) == [1, -1, -1, -1]
    choose(page, "stable_rank")
    opposed = next(trend.opposed for trend in trends(sample.table()).trends if trend.metric == "stable_rank")
    assert bool(page.find_elements("css selector", ".pooled .paradox")) == opposed


def test_too_few_models_have_no_line_that_looks_like_evidence(page):
    wide, small, pair = (panel(page, name) for name in ("Wide", "Small", "Pair"))
    dashes = "return getComputedStyle(arguments[0].querySelector('.fit')).strokeDasharray"
    assert page.execute_script(dashes, wide) == "none"
    assert page.execute_script(dashes, small) != "none"
    assert [len(card.find_elements("css selector", ".fan")) for card in (wide, small, pair)] == [1, 0, 0]
    assert pair.find_elements("css selector", ".fit") == []
    assert "no line through two points" in pair.text


def test_names_stand_beside_marks_and_never_on_each_other(page):
    boxes = "return [...arguments[0].querySelectorAll('.names text')].map(t => { const b = t.getBBox(); " \
        "return [t.textContent, b.x, b.y + 2, b.x + b.width, b.y + b.height - 2]; })"  # fmt: skip
    written = 0
    for card in page.find_elements("css selector", ".panel"):
        names = page.execute_script(boxes, card)
        written += len(names)
        for (_, *a), (_, *b) in itertools.combinations(names, 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        for name, (left, top) in places(page, card).items():
            for other, *a in names:
                assert other == name or not (a[0] < left < a[2] and a[1] < top < a[3])
    assert written > 20
    assert set(texts(panel(page, "Small"), ".names text")) == {"small-1", "small-2", "small-3", "small-4"}


def test_the_arrow_keys_name_one_model_after_the_other(page):
    from selenium.webdriver.common.keys import Keys

    card = panel(page, "Deep")
    order = sorted(found := places(page, card), key=lambda name: found[name])
    page.execute_script("arguments[0].querySelector('.point[tabindex=\"0\"]').focus()", card)
    for name in order:
        assert one(page, "#tip").text.splitlines()[:2] == [name, "Deep"]
        press(page, Keys.ARROW_RIGHT)
    assert len(card.find_elements("css selector", '.point[tabindex="0"]')) == 1


def test_a_panel_under_the_pointer_stands_out_in_the_pool(page):
    from selenium.webdriver import ActionChains

    ActionChains(page).move_to_element(one(panel(page, "Deep"), "h3")).perform()
    bright = page.execute_script(
        "return [...document.querySelectorAll('.pooled .point:not(.faint)')].map(p => p.dataset.tip.split('\\n')[1])"
    )
    assert bright == ["Deep"] * sample.SIZES["Deep"]
    ActionChains(page).move_to_element(one(page, "h1")).perform()
    assert page.find_elements("css selector", ".pooled .faint") == []


def test_the_tables_hold_what_the_report_holds(page):
    report = trends(sample.table())
    rows = [row.text for row in page.find_elements("css selector", "#overview-table tbody tr")]
    assert len(rows) == len(report.trends)
    found = next(trend for trend in report.trends if trend.metric == "alpha")
    cells = texts(page, "#overview-table tbody tr:first-child > *")
    assert cells[:3] == ["alpha", "smaller", "supported"]
    assert cells[3].startswith(f"{found.within.slope:.2f}".replace("-", "−"))
    assert cells[7] == f"{found.within.negative} / {found.within.positive}"
    assert cells[11] == "opposed"
    assert cells[12:] == [f"{found.sign_error:.2f}", f"{found.robust_sign_error:.2f}"]
    assert texts(page, "#series-table tbody th") == ["Wide", "Deep", "Small", "Pair", "all series pooled"]
    wide = texts(page, "#series-table tbody tr:first-child > *")
    assert wide[2] == str(found.groups["Wide"].n)
    assert wide[4].startswith(f"{found.groups['Wide'].r2:.2f} (")


def test_a_metric_that_is_constant_has_points_and_no_line(page):
    choose(page, "entropy")
    assert len(places(page, panel(page, "Wide"))) == sample.SIZES["Wide"]
    assert page.find_elements("css selector", ".fit, .segment") == []


def test_light_and_dark_differ_and_toggle(page):
    colours = "const s = getComputedStyle(document.querySelector('.panel')); return [s.backgroundColor, s.color]"
    light = page.execute_script(colours)
    one(page, "#theme").click()
    dark = page.execute_script(colours)
    assert all(a != b for a, b in zip(light, dark, strict=True))
    one(page, "#theme").click()
    assert page.execute_script(colours) == light


def test_nothing_sticks_out_sideways(width, page):
    for name in ("alpha", "log_norm"):
        page.execute_script("location.hash = '#metric=' + arguments[0]", name)
        assert shows(page, name)
        assert sideways(page) <= 0
        over = (
            "const edge = document.querySelector('main').getBoundingClientRect().right;"
            "const drawn = [...document.querySelectorAll('.panel svg')];"
            "return drawn.filter(n => n.getBoundingClientRect().right > edge).length"
        )
        assert page.execute_script(over) == 0


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    return written(tmp_path_factory.mktemp("hostile"), render(trends(sample.hostile())))


def test_hostile_names_are_shown_as_text_and_run_nothing(driver, attacked):
    for page in visit(driver, attacked):
        assert page.title == f"Trends in {sample.HOSTILE} · heavytail"
        assert page.find_elements("css selector", "img") == []
        assert sample.HOSTILE in texts(page, ".panel h3")
        for link in page.find_elements("css selector", "#summary a"):
            link.click()
            assert shows(page, link.text)


def test_a_link_to_another_part_of_the_page_keeps_the_metric(page):
    choose(page, "stable_rank")
    page.execute_script("document.querySelector('.skip').click()")
    assert page.execute_async_script("setTimeout(() => arguments[0](location.hash), 50)") == "#overview"
    assert one(page, "#reading bdi").text == "stable_rank"
