"""The page in a real browser; skipped where Debian's chromium is missing."""

from dataclasses import replace

import numpy as np
import pytest
from browser import BACKGROUND, column, hover, names, one, opens, press, sideways, texts, visit, written
from report import sample

import heavytail
from heavytail.report.page import render

_LAYER = "model.layers.1.self_attn.v_proj"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"), render(sample.make(layers=24)))


def status(page, name):
    one(page, f"#status input[value={name}] + span").click()


def test_it_loads_with_its_chart_table_and_attention(page):
    assert len(names(page)) > 20
    assert page.find_elements("css selector", "#depth svg .mark")
    assert "model.broken" in one(page, "#attention").text
    assert not one(page, "#panel").is_displayed()


def test_a_hostile_name_is_shown_as_text_and_runs_nothing(page):
    assert page.title == "synthetic-transformer-7B · heavytail"
    assert page.find_elements("css selector", "img") == []
    assert sample.HOSTILE in page.execute_script("return document.querySelector('tbody').textContent")


def test_the_policy_stops_scripts_that_are_not_its_own(driver, address):
    driver.get(address)
    driver.execute_script(
        "const script = document.createElement('script'); script.textContent = 'document.title = \"broken\"';"
        "document.body.append(script)"
    )
    assert driver.title != "broken"
    assert any("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))


def test_a_click_on_a_header_sorts_up_then_down_then_back(page):
    before = names(page)
    header = one(page, "th[data-column=alpha] button")
    header.click()
    values = [float(text) for text in column(page, "alpha") if text != "–"]
    assert values == sorted(values)
    assert one(page, "th[data-column=alpha]").get_attribute("aria-sort") == "ascending"
    one(page, "th[data-column=alpha] button").click()
    values = [text for text in column(page, "alpha") if text != "–"]
    assert [float(text) for text in values] == sorted(map(float, values), reverse=True)
    assert column(page, "alpha")[len(values) :] == ["–"] * (len(names(page)) - len(values))
    one(page, "th[data-column=alpha] button").click()
    assert names(page) == before


def test_the_keyboard_sorts_and_keeps_its_place(page):
    from selenium.webdriver import Keys

    one(page, "th[data-column=entropy] button").send_keys(Keys.ENTER)
    assert one(page, "th[data-column=entropy]").get_attribute("aria-sort") == "ascending"
    press(page, Keys.ENTER)
    assert one(page, "th[data-column=entropy]").get_attribute("aria-sort") == "descending"


def test_text_kind_and_status_filter_the_rows(page):
    one(page, "#search").send_keys("self_attn q_proj")
    assert {name.split(".")[-1] for name in names(page)} == {"q_proj"}
    one(page, "#search").clear()
    one(page, "#search").send_keys("nothing is called so")
    assert names(page) == []
    assert "No row matches" in one(page, "tbody").text


def test_a_kind_can_be_chosen(page):
    page.execute_script(
        "const k = document.getElementById('kind'); k.value = 'conv2d'; k.dispatchEvent(new Event('change'))"
    )
    assert set(column(page, "kind")) == {"conv2d"}


def test_skipped_vectors_are_one_click_away(page):
    assert "skipped" not in column(page, "status")
    status(page, "skipped")
    assert set(column(page, "status")) == {"skipped"}
    assert set(column(page, "reason")) == {"a vector"}
    status(page, "all")
    assert one(page, "#shown").text.endswith("rows")


def test_columns_are_shown_by_group_and_empty_ones_on_request(page):
    assert "xmin" not in texts(page, "thead tr:last-child th")
    shape, empty = page.find_elements("css selector", "#groups input")[2], one(page, "#groups label:last-child input")
    page.execute_script("arguments[0].click()", shape)
    assert "xmin" in texts(page, "thead tr:last-child th")
    assert "p_value" not in texts(page, "thead tr:last-child th")
    page.execute_script("arguments[0].click()", empty)
    assert "p_value" in texts(page, "thead tr:last-child th")


def test_a_click_on_a_row_opens_its_layer_and_escape_closes_it(page):
    from selenium.webdriver import Keys

    assert page.find_elements("css selector", "#panel svg") == []
    one(page, "tbody tr[data-row='3'] td").click()
    assert opens(page, names(page)[3])
    panel = one(page, "#panel")
    assert panel.is_displayed()
    assert len(panel.find_elements("css selector", "figure svg")) == 3
    assert "Kolmogorov-Smirnov" in panel.text
    assert page.current_url.endswith("#layer=" + names(page)[3])
    press(page, Keys.ESCAPE)
    assert not panel.is_displayed()


def test_arrows_and_buttons_go_through_the_rows_in_view(page):
    from selenium.webdriver import Keys

    listed = names(page)
    one(page, "tbody tr[data-row='1'] td").click()
    assert opens(page, listed[1])
    press(page, Keys.ARROW_RIGHT)
    assert opens(page, listed[2])
    one(page, "#panel [aria-label='Next layer']").click()
    assert opens(page, listed[3])
    press(page, Keys.ARROW_LEFT)
    assert opens(page, listed[2])
    assert one(page, "tr.selected th").text == listed[2]


@pytest.mark.parametrize("name", [_LAYER, "model.broken", "model.packed", "head.bias_mixer", "adapter.merged"])
def test_a_deep_link_opens_its_layer(driver, address, name):
    for page in visit(driver, f"{address}#layer={name}"):
        assert opens(page, name)


def test_the_hostile_layer_opens_from_its_link(page):
    page.execute_script("location.hash = '#layer=' + encodeURIComponent(arguments[0])", sample.HOSTILE)
    assert opens(page, sample.HOSTILE)
    assert page.find_elements("css selector", "img") == []


def test_an_attention_entry_leads_to_its_layer(page):
    one(page, "#attention a.name").click()
    assert opens(page, "model.broken")
    assert "NaN" in one(page, "#panel .remarks").text


def test_another_metric_can_stand_on_the_axis(page):
    page.execute_script(
        "const m = document.getElementById('metric'); m.value = 'stable_rank'; m.dispatchEvent(new Event('change'))"
    )
    assert one(page, "#depth svg").get_attribute("aria-label") == "stable_rank against depth"
    one(page, "#figures [data-metric=log_norm]").click()
    assert one(page, "#metric").get_attribute("value") == "log_norm"


def test_an_extreme_alpha_is_an_arrow_with_its_value_in_the_tooltip(page):
    from selenium.webdriver import ActionChains

    ActionChains(page).move_to_element(one(page, "#depth svg .arrow")).perform()
    name, said = one(page, "#tip").text.split("\n")
    assert name == "lm_head"
    assert float(said.split()[1]) > 50


def test_a_click_on_a_mark_opens_its_layer(page):
    from selenium.webdriver import ActionChains

    ActionChains(page).move_to_element(one(page, "#depth svg .arrow")).click().perform()
    assert opens(page, "lm_head")


def test_a_definition_is_told_on_focus(page):
    page.execute_script("document.querySelector('th[data-column=entropy] button').focus()")
    assert "Entropy of the normalised eigenvalues" in one(page, "#tip").text
    assert one(page, "th[data-column=entropy] button").get_attribute("aria-describedby") == "tip"


def test_the_theme_toggles(page):
    before = page.execute_script(BACKGROUND)
    one(page, "#theme").click()
    after = page.execute_script(BACKGROUND)
    assert after != before
    one(page, "#theme").click()
    assert page.execute_script(BACKGROUND) == before


def test_nothing_sticks_out_sideways(width, page):
    for address in ("", f"#layer={_LAYER}"):
        page.execute_script("location.hash = arguments[0]", address)
        assert not address or opens(page, _LAYER)
        assert sideways(page) <= 0


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return written(tmp_path_factory.mktemp("noisy"), render(sample.noisy()))


def drawn(page, kind):
    """Count what is drawn of a kind in density and histogram; the CCDF between them has none of it."""
    charts = page.find_elements("css selector", "#panel figure svg")[:3]
    return [len(chart.find_elements("css selector", f".{kind}")) for chart in charts]


@pytest.fixture(scope="module")
def tailed(tmp_path_factory):
    """Pages by whether there is evidence."""
    folder = tmp_path_factory.mktemp("tailed")
    for replicates in (0, 40):
        (folder / f"{replicates}.html").write_text(render(sample.tailed(replicates)), encoding="utf-8")
    return {bool(replicates): (folder / f"{replicates}.html").as_uri() for replicates in (0, 40)}


def test_the_headline_has_the_interval(driver, tailed):
    row = sample.tailed(0).rows[0]
    for page in visit(driver, f"{tailed[False]}#layer=straight"):
        assert opens(page, "straight")
        said = one(page, "#panel .alpha").text
        assert f"= {row.alpha:.2f} ({row.alpha_lo:.2f} to {row.alpha_hi:.2f})" in said
        assert "95 % interval" in said
        page.execute_script("location.hash = '#layer=paired'")
        assert opens(page, "paired")
        said = one(page, "#panel .alpha").text
        assert f"= {sample.tailed(0).rows[4].alpha:.2f} " in said
        assert "interval" not in said
        assert page.find_elements("css selector", "#panel .fan") == []


def test_bars_against_depth_are_intervals(driver, tailed):
    report = sample.tailed(0)
    script = (
        "return [...document.querySelectorAll('#depth line.bar')]"
        ".map(bar => Number(bar.getAttribute('y1')) - Number(bar.getAttribute('y2')))"
    )
    for page in visit(driver, tailed[False]):
        lengths = page.execute_script(script)
        widths = [row.alpha_hi - row.alpha_lo for row in report.rows if row.alpha_lo > 0]
        assert [length / lengths[0] for length in lengths] == pytest.approx([w / widths[0] for w in widths], rel=0.05)


def test_a_fan_of_power_laws_shows_the_interval(driver, tailed):
    """Its far corners, as exponents, are the ends of the interval."""
    row = sample.tailed(0).rows[0]
    script = (
        "const i = data.columns.name.indexOf('straight'); const fit = fitOf((column) => data.columns[column][i]);"
        "const corners = document.querySelectorAll('#panel figure svg')[1].querySelector('path.fan')"
        ".getAttribute('d').match(/[0-9.-]+,[0-9.-]+/g).map(text => text.split(',').map(Number));"
        "const line = document.querySelectorAll('#panel figure svg')[1].querySelector('line.fit');"
        "const [x1, y1, x2, y2] = ['x1', 'y1', 'x2', 'y2'].map(name => Number(line.getAttribute(name)));"
        "const steep = (to) => 1 + (fit.alpha - 1) * (to[1] - y1) / (y2 - y1);"
        "return [steep(corners[1]), steep(corners[2]), corners[0][0] - x1, corners[1][0] - x2]"
    )
    for page in visit(driver, f"{tailed[False]}#layer=straight"):
        assert opens(page, "straight")
        low, high, start, end = page.execute_script(script)
        assert (low, high) == pytest.approx((row.alpha_lo, row.alpha_hi), abs=0.01)
        assert (start, end) == pytest.approx((0, 0), abs=0.1)


def test_the_stability_of_alpha_is_drawn_with_the_chosen_start_and_those_as_good(driver, tailed):
    for evidence in (False, True):
        for page in visit(driver, f"{tailed[evidence]}#layer=straight"):
            assert opens(page, "straight")
            profile = page.execute_script("return data.tails[data.columns.name.indexOf('straight')].profile")
            figure = next(f for f in page.find_elements("css selector", "#panel figure") if "Stability" in f.text)
            for chart in figure.find_elements("css selector", "svg"):
                assert len(chart.find_elements("css selector", ".dot")) == len(profile["n"])
                assert len(chart.find_elements("css selector", ".dot.tail")) == sum(profile["good"])
                assert len(chart.find_elements("css selector", ".ring")) == 1


def test_rival_laws_are_drawn_and_switched_off_one_by_one(driver, tailed):
    for page in visit(driver, f"{tailed[True]}#layer=bent"):
        assert opens(page, "bent")
        buttons = page.find_elements("css selector", "#panel [aria-label='Other laws'] button")
        assert len(buttons) == len(page.find_elements("css selector", "#panel path.rival")) == 4
        buttons[0].click()
        assert buttons[0].get_attribute("aria-pressed") == "false"
        assert len(page.find_elements("css selector", "#panel path.rival")) == 3
        buttons[0].click()
        assert len(page.find_elements("css selector", "#panel path.rival")) == 4
    for page in visit(driver, f"{tailed[False]}#layer=bent"):
        assert opens(page, "bent")
        assert page.find_elements("css selector", "#panel path.rival") == []


def test_the_verdict_its_laws_and_fingers_are_put_in_words(driver, tailed):
    report = sample.tailed()
    for page in visit(driver, tailed[True]):
        for row in report.rows[:4]:
            page.execute_script("location.hash = arguments[0]", f"#layer={row.name}")
            assert opens(page, row.name)
            found = "Undecided: " if row.tail == "undecided" else f"A {row.tail}: "
            assert one(page, "#panel .evidence p:nth-child(2)").text.startswith(
                found + report.tails[row.name].evidence.verdict.reason
            )
            assert ("description at most" in one(page, "#panel .evidence").text) == (row.p_value <= 0.05)
            assert ("law; it passes" in one(page, "#panel .evidence").text) == (row.p_value > 0.05)
            assert len(texts(page, "#panel .laws tbody tr")) == 5
            assert "density peak" in texts(page, "#panel .starts tbody th")
        page.execute_script("location.hash = '#layer=knotted'")
        assert opens(page, "knotted")
        first, second = report.tails["knotted"].evidence.fingers.alphas[:2]
        assert f"α falls from {first:.2f} to {second:.2f} without the largest eigenvalue." in one(page, "#panel").text


@pytest.mark.parametrize(
    ("p_value", "rejected", "words"),
    [
        (0.3, False, "it passes."),
        (0.3, True, "it passes its own test, but loses to a law that bends."),
        (0.01, True, "it does not pass, and alpha is a description at most."),
    ],
)
def test_a_power_law_that_is_rejected_does_not_just_pass(driver, tmp_path, p_value, rejected, words):
    report = sample.tailed()
    tail = report.tails["bent"]
    bootstrap = replace(tail.evidence.bootstrap, p_value=p_value)
    verdict = replace(tail.evidence.verdict, rejected=rejected)
    tail = replace(tail, evidence=replace(tail.evidence, bootstrap=bootstrap, verdict=verdict))
    address = written(tmp_path, render(replace(report, tails={**report.tails, "bent": tail})))
    for page in visit(driver, f"{address}#layer=bent"):
        assert opens(page, "bent")
        assert one(page, "#panel .evidence").text.endswith(f"samples of the fitted power law; {words}")


def test_how_heavy_a_tail_is_against_noise_is_put_in_words(driver, noisy):
    report = sample.noisy(nulls=0, vectors=False)
    for page in visit(driver, noisy):
        for name, words in {"pure": "No heavier than noise", "spiked": "Heavier than noise"}.items():
            page.execute_script("location.hash = arguments[0]", f"#layer={name}")
            assert opens(page, name)
            score = report.tails[name].score
            said = one(page, "#panel .evidence p").text
            assert said.startswith(f"{words} of this shape")
            assert f"{score.excess:.2f} times that of noise" in said
            assert f"interval {score.excess_lo:.2f} to {score.excess_hi:.2f}" in said


def test_tails_are_columns_that_sort_and_a_filter(driver, tailed):
    for page in visit(driver, tailed[True]):
        assert {"p_value", "tail", "alpha_lo", "alpha_hi"} <= set(texts(page, "thead tr:last-child th"))
        one(page, "th[data-column=p_value] button").click()
        values = [float(text) for text in column(page, "p_value") if text != "–"]
        assert values == sorted(values)
        page.execute_script(
            "const t = document.getElementById('tail'); t.value = 'power law'; t.dispatchEvent(new Event('change'))"
        )
        assert set(column(page, "tail")) == {"power law"}
    for page in visit(driver, tailed[False]):
        assert not one(page, "#tail").is_displayed()


def test_nothing_of_the_tail_sticks_out_of_the_panel(width, driver, tailed):
    for page in visit(driver, f"{tailed[True]}#layer=bent"):
        assert opens(page, "bent")
        assert sideways(page) <= 0
        assert sideways(page, "#panel") <= 0


def test_law_edge_spikes_and_shuffled_copies_are_drawn(driver, noisy):
    for page in visit(driver, f"{noisy}#layer=spiked"):
        assert opens(page, "spiked")
        assert [drawn(page, kind) for kind in ("law", "noise", "spike", "shuffled")] == 4 * [[1, 0, 1]]
        ticks = page.execute_script("return document.querySelector('#panel svg .spike').getAttribute('d')")
        assert ticks.count("M") == 3
        one(page, "#panel figure button:last-child").click()
        assert [drawn(page, kind) for kind in ("law", "noise", "spike", "shuffled")] == 4 * [[1, 0, 1]]
        assert {"noise", "its edge", "spikes", "shuffled"} <= set(texts(page, "#panel figure .keys > span"))


def test_the_law_is_drawn_where_theory_puts_it(driver, noisy):
    """The script's density, and the drawn edge, against the bulk that was fitted."""
    (bulk,) = sample.noisy(nulls=0, vectors=False).noise["spiked"].bulks
    script = (
        "const i = data.columns.name.indexOf('spiked');"
        "return arguments[0].map(lawOf(data.noise[i], data.curves[i].count).density)"
    )
    for page in visit(driver, f"{noisy}#layer=spiked"):
        low, high = (edge * bulk.scale for edge in bulk.law.edges)
        x = [low + (high - low) * share for share in (0.01, 0.3, 0.7, 0.99)]
        expected = [bulk.law.pdf(at / bulk.scale) / bulk.scale * (117 / 120) for at in x]
        assert page.execute_script(script, x) == pytest.approx(expected, rel=1e-3)
        line = page.execute_script(
            "const svg = document.querySelectorAll('#panel figure svg')[2];"
            "const ticks = [...svg.querySelectorAll('.axes text[text-anchor=middle]')];"
            "const [a, b] = [ticks[0], ticks[ticks.length - 1]];"
            "const at = Number(svg.querySelector('line.noise').getAttribute('x1'));"
            "const x = (tick) => Number(tick.getAttribute('x'));"
            "return Number(b.textContent) * (at - x(a)) / (x(b) - x(a))"
        )
        assert line**2 == pytest.approx(bulk.edge, rel=5e-3)


def test_the_finding_is_put_in_words(driver, noisy):
    said = {
        "pure": "Noise explains all of it",
        "pooled": "Noise explains all of it",
        "spiked": "Noise bulk with 3 spikes beyond its edge.",
        "heavy": "No noise bulk: ",
        "small": "No noise bulk: it needs 16 eigenvalues.",
    }
    for page in visit(driver, noisy):
        for name, words in said.items():
            page.execute_script("location.hash = arguments[0]", f"#layer={name}")
            assert opens(page, name)
            assert one(page, "#panel .verdict b").text.startswith(words)
            assert "no noise bulk" not in " ".join(texts(page, "#panel .remarks li p")[:-1])


def test_traps_are_listed_with_their_places(driver, noisy):
    for page in visit(driver, f"{noisy}#layer=trapped"):
        assert opens(page, "trapped")
        assert "3 traps" in one(page, "#panel .verdict").text
        places = {text.split(",", 1)[0] if "(" not in text else text[:14] for text in texts(page, "#panel .traps li")}
        assert places == {"entry (10, 20)", "column 99", "row 300"}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Layers of one column, and one whose eigenvalues are so large that a product of two overflows."""
    folder = tmp_path_factory.mktemp("odd")
    large = 1e151 * np.random.default_rng(1).standard_normal((60, 40))
    column = np.random.default_rng(0).standard_normal((9, 1))
    np.savez(folder / "odd.npz", one=np.ones((1, 1)), column=column, large=large)
    report = heavytail.analyze(folder / "odd.npz", vectors=True, nulls=3)
    return written(folder, render(report))


@pytest.mark.parametrize("name", ["one", "column"])
def test_an_entropy_of_a_single_component_is_a_dash(driver, odd, name):
    for page in visit(driver, f"{odd}#layer={name}"):
        assert opens(page, name)
        rows = page.find_elements("css selector", "#panel .vectors tbody tr")
        right = next(row.text for row in rows if row.text.startswith("right, random"))
        assert right.split()[2:] == ["1.00", "1.00", "–"]


def test_the_noise_of_eigenvalues_near_the_largest_float_is_drawn(driver, odd):
    heights = (
        "return [...document.querySelectorAll('#panel figure svg path.law')].map(path =>"
        "path.getAttribute('d').match(/[0-9.-]+,[0-9.-]+/g).map(text => Number(text.split(',')[1])))"
    )
    for page in visit(driver, f"{odd}#layer=large"):
        assert opens(page, "large")
        density, histogram = page.execute_script(heights)
        assert len(density) == len(histogram) > 100
        assert len(set(histogram)) > 20


def test_localisation_is_a_table(driver, noisy):
    for page in visit(driver, f"{noisy}#layer=spiked"):
        assert opens(page, "spiked")
        parts = texts(page, "#panel .vectors tbody th")
        assert {"left, bulk", "left, spikes", "left, random", "right, spikes", "right, random"} <= set(parts)


def test_nothing_of_the_noise_sticks_out_of_the_panel(width, driver, noisy):
    for page in visit(driver, f"{noisy}#layer=trapped"):
        assert opens(page, "trapped")
        assert sideways(page) <= 0
        assert sideways(page, "#panel") <= 0


def test_noise_is_a_group_of_columns_that_sort(driver, noisy):
    for page in visit(driver, noisy):
        chips = page.find_elements("css selector", "#groups label")
        (chip,) = [chip for chip in chips if chip.text == "noise"]
        chip.click()
        assert "mp_softrank" in texts(page, "thead tr:last-child th")
        one(page, "th[data-column=bulk_edge] button").click()
        values = column(page, "bulk_edge")
        assert values[-2:] == ["–", "–"]
        numbers = [float(text) for text in values[:-2]]
        assert numbers == sorted(numbers)


@pytest.fixture(scope="module")
def phased(tmp_path_factory):
    return written(tmp_path_factory.mktemp("phased"), render(sample.phased()))


def test_a_phase_is_a_colour_with_its_word_and_its_probability(driver, phased):
    for page in visit(driver, phased):
        assert column(page, "phase")[:3] == ["random-like 0.90", "bleeding-out 0.90", "bulk+spikes 0.90"]
        colour = "return [...document.querySelectorAll('tbody .dot')].map(dot => getComputedStyle(dot).borderColor)"
        colours = page.execute_script(colour)
        assert len(set(colours[:7])) == 7
        assert colours[7:9] == [colours[6], colours[0]]
        assert column(page, "phase")[7] == "undecided"
        one(page, "#theme").click()
        assert len(set(page.execute_script(colour)[:7])) == 7


def test_phases_sort_in_their_own_order(driver, phased):
    rows = sample.phased().rows
    order = [*(row.name for row in rows[:6]), "between", "narrow"]
    order[1:1] = ["pooled", "mixed"]  # random-like as well
    for page in visit(driver, phased):
        one(page, "th[data-column=phase] button").click()
        assert names(page) == [*order, "small"]
        one(page, "th[data-column=phase] button").click()
        assert names(page)[:2] == ["between", "narrow"]
        assert names(page)[-1] == "small"


def test_buttons_and_words_choose_phases(driver, phased):
    for page in visit(driver, phased):
        chips = page.find_elements("css selector", "#phases button")
        chips[0].click()
        assert names(page) == ["random-like", "pooled", "mixed"]
        assert chips[0].get_attribute("aria-pressed") == "true"
        chips[6].click()
        assert names(page) == ["random-like", "between", "narrow", "pooled", "mixed"]
        assert len(page.find_elements("css selector", "#strip rect.faint")) == 5
        chips[0].click()
        chips[6].click()
        assert len(names(page)) == 11
        one(page, "#search").send_keys("random-like pool")
        assert names(page) == ["pooled"]


def test_phases_along_depth_are_cells_under_their_words_that_open_their_layer(driver, phased):
    from selenium.webdriver import ActionChains

    for page in visit(driver, phased):
        assert texts(page, "#strip text") == [*reversed(sample.PHASES), "undecided"]
        cells = page.find_elements("css selector", "#strip rect:not(.column)")
        assert len(cells) == 10
        marks = page.find_elements("css selector", "#depth .mark")
        middle = "const b = arguments[0].getBoundingClientRect(); return b.left + b.width / 2"
        places = [page.execute_script(middle, node) for node in (cells[4], marks[4])]
        assert places[0] == pytest.approx(places[1], abs=1)
        hover(page, cells[4])
        assert one(page, "#tip").text == "heavy-tailed\nheavy-tailed, probability 90\u202f%"
        ActionChains(page).click().perform()
        assert opens(page, "heavy-tailed")


@pytest.mark.parametrize("name", [*sample.PHASES, "between", "pooled"])
def test_a_phase_is_put_in_words_with_its_probabilities_and_its_evidence(driver, phased, name):
    report = sample.phased()
    phase = report.phases[name]
    for page in visit(driver, f"{phased}#layer={name}"):
        assert opens(page, name)
        said = one(page, "#panel").text
        assert f"{phase.name} {max(phase.probabilities.values()):.2f}" in one(page, "#panel .facts").text
        shares = texts(page, "#panel .shares li")
        assert [share.split()[0] for share in shares] == list(sample.PHASES)
        assert "nan" not in said.lower().split()
        assert "undefined" not in said
        lines = texts(page, "#panel .observed dt")
        assert lines[0].split("\n")[0] == "lost directions"
        assert ("Medians of 4 matrices" in said) == (name == "pooled")
        start = "Undecided: no phase" if name == "between" else f"{phase.name.capitalize()}, with a probability of 9"
        assert start in said


def test_what_is_narrower_than_noise_is_undecided_in_words_with_its_evidence(driver, phased):
    for page in visit(driver, f"{phased}#layer=narrow"):
        assert opens(page, "narrow")
        said = one(page, "#panel").text
        assert "Undecided: its eigenvalues, the largest apart, are more alike than noise's" in said
        assert "likeliest" not in said
        assert "nan" not in said.lower().split()
        assert not page.find_elements("css selector", "#panel .shares")
        assert texts(page, "#panel .observed dt")[0].split("\n")[0] == "lost directions"
        assert "for noise as narrow" in said
        assert one(page, "#panel .facts").text.endswith("undecided")
    for page in visit(driver, phased):
        (cell,) = page.find_elements("css selector", "#strip .hollow")
        hover(page, cell)
        assert one(page, "#tip").text.startswith("narrow\nundecided: body narrower")
        assert "hollow where no phase looks like it" in one(page, "#depth-caption").text


def test_narrow_matrices_among_others_are_told_calmly(driver, phased):
    for page in visit(driver, f"{phased}#layer=mixed"):
        assert opens(page, "mixed")
        assert one(page, "#panel .verdict .calm").text.startswith("1 of 3 matrices has no part in this")
        assert len(page.find_elements("css selector", "#panel .shares li")) == 6
        assert "1 of 3 matrices: " not in one(page, "#panel").text


def test_a_phase_that_noise_explains_is_remarked_upon(driver, tmp_path):
    address = written(tmp_path, render(sample.uneven()))
    for page in visit(driver, f"{address}#layer=uneven"):
        assert opens(page, "uneven")
        said = "ulk-decay by its spectrum alone, but noise whose rows differ in size explains it"
        assert one(page, "#panel .verdict .calm").text == f"B{said}."
        assert f"b{said}" in one(page, "#attention").text


def test_a_layer_without_a_phase_says_why_once(driver, phased):
    for page in visit(driver, f"{phased}#layer=small"):
        assert opens(page, "small")
        assert one(page, "#panel").text.lower().count("no phase below 30 eigenvalues") == 1


def test_nothing_of_the_phase_sticks_out(width, driver, phased):
    for page in visit(driver, f"{phased}#layer=bulk-decay"):
        assert opens(page, "bulk-decay")
        assert sideways(page) <= 0
        assert sideways(page, "#panel") <= 0


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return written(tmp_path_factory.mktemp("large"), render(sample.make(layers=594, n=256)))


def test_six_hundred_layers_scroll_to_the_end_with_few_rows_drawn(driver, large):
    for page in visit(driver, large):
        drawn = "return document.querySelectorAll('tbody tr[data-row]').length"
        assert page.execute_script(drawn) < 120
        page.execute_async_script(
            "const done = arguments[0], s = document.getElementById('scroller'); s.scrollTop = s.scrollHeight;"
            "requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        assert sample.HOSTILE in names(page)[-1]
        assert page.execute_script(drawn) < 120
        assert one(page, "table").get_attribute("aria-rowcount") == "605"
