"""The page of a comparison in a real browser; skipped where Debian's chromium is missing."""

from dataclasses import replace

import numpy as np
import pytest
from browser import BACKGROUND, column, hover, names, one, opens, press, sideways, texts, visit, written
from comparison import compared

from heavytail.comparison import compare
from heavytail.comparison.page import render
from heavytail.comparison.report import summarise

_BROKEN = (
    "return [...document.querySelectorAll('svg *')].filter(node =>"
    "[...node.attributes].some(attribute => /NaN|Infinity/.test(attribute.value)))"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("comparison"), render(compared.comparison()))


def go(page, name):
    page.execute_script("location.hash = '#layer=' + encodeURIComponent(arguments[0])", name)
    return opens(page, name)


def choose(page, metric):
    one(page, f"#metric option[value={metric}]").click()


def numbers(found):
    return [float(text.replace("−", "-")) for text in found if text != "–"]


def test_it_opens_with_a_mark_for_each_matrix_and_no_panel(page):
    rows = compared.comparison().rows
    matrices = [row for row in rows if np.isfinite(row.N)]
    assert names(page) == [row.name for row in matrices]
    marks = page.find_elements("css selector", "#moved .mark, #moved .still, #moved .absent")
    assert len(marks) == len(matrices)
    assert len(page.find_elements("css selector", "#moved .still")) == 1
    assert len(page.find_elements("css selector", "#moved .absent")) == 2
    assert not one(page, "#panel").is_displayed()


def test_a_hostile_name_is_shown_as_text_and_runs_nothing(page):
    assert page.title == "mapping against mapping · heavytail"
    assert go(page, compared.HOSTILE)
    assert page.find_elements("css selector", "img") == []
    assert page.title == "mapping against mapping · heavytail"


def test_marks_stand_at_the_relative_change_on_a_logarithmic_axis(page):
    script = "return [...document.querySelectorAll('#moved .mark')].map(m => m.transform.baseVal[0].matrix.f)"
    moved = [
        row.relative_change for row in compared.comparison().rows if np.isfinite(row.N) and row.relative_change > 0
    ]
    heights, logs = np.array(page.execute_script(script)), np.log10(moved)
    slope, start = np.polyfit(logs, heights, 1)
    assert slope < 0
    np.testing.assert_allclose(heights, start + slope * logs, atol=0.11)  # places are written to a tenth of a pixel


def test_lanes_show_ranks_and_intruders(page):
    rows = compared.comparison().rows
    for lane in ("suggested_rank", "intruders"):
        bars = page.find_elements("css selector", f"#lanes rect.{lane}")
        assert len(bars) == sum(getattr(row, lane) > 0 for row in rows)


@pytest.mark.parametrize("name", ["layers.0.noise", "spiked", "lora", "dense", "frozen", "narrow", "conv", "head"])
def test_a_link_opens_a_layer_with_its_numbers(page, name):
    row = next(row for row in compared.comparison().rows if row.name == name)
    assert go(page, name)
    said = one(page, "#panel").text
    assert row.status in one(page, "#panel .facts").text
    assert "undefined" not in said
    assert "nan" not in said.lower().split()
    if row.change:
        shown = one(page, "#panel .moved").text.split("\n")
        assert numbers([shown[0].split(" = ")[1]])[0] == pytest.approx(row.relative_change, rel=5e-3)
        assert shown[1].startswith("unchanged" if row.change == "none" else row.change)
    assert page.execute_script(_BROKEN) == []


def test_the_panel_of_a_low_rank_change_draws_its_directions_and_intruders(page):
    assert go(page, "lora")
    assert len(page.find_elements("css selector", "#panel .stem")) == compared.RANK
    (found,) = next(layer.subspaces for layer in compared.comparison().layers if layer.row.name == "lora")
    far = np.count_nonzero(found.nearest_hi < found.cutoff)  # of both sides
    assert len(page.find_elements("css selector", "#panel .intruder[data-tip]")) == far >= compared.RANK
    assert len(page.find_elements("css selector", "#panel .cutoff")) == 1


def test_the_panel_of_a_spiked_change_draws_noise_edge_and_spike(page):
    assert go(page, "spiked")
    titles = texts(page, "#panel figcaption b")
    assert titles == [
        *("Spectral density", "Histogram", "Tail distribution (CCDF)"),
        *("Spectral density", "Tail distribution (CCDF)"),
        *("Principal angles", "Nearest in the base"),
    ]
    first = one(page, "#panel figure svg")
    assert first.find_elements("css selector", ".law")
    assert first.find_elements("css selector", "line.noise")
    (spikes,) = first.find_elements("css selector", ".spike")
    assert spikes.get_attribute("d").count("M") == 1
    assert len(page.find_elements("css selector", "#panel path.after, #panel path.ranks.second")) == 2


def test_metrics_stand_before_and_after_with_intervals_and_definitions(page):
    row = next(row for row in compared.comparison().rows if row.name == "dense")
    assert go(page, "dense")
    lines = {
        one(line, "th").text: texts(line, "td")
        for line in page.find_elements("css selector", "#panel .metrics tbody tr")
    }
    assert numbers(lines["stable_rank"][:2]) == pytest.approx(
        [row.metrics["stable_rank"].base, row.metrics["stable_rank"].tuned], abs=0.06
    )
    assert lines["stable_rank"][3] == "exact"
    alpha = row.metrics["alpha"]
    low, high = numbers(lines["alpha"][3].split(" to "))
    assert (low, high) == pytest.approx((alpha.lo, alpha.hi), rel=5e-3)
    name = one(page, "#panel .metrics tbody th [data-tip]")
    page.execute_script("arguments[0].focus()", name)
    assert one(page, "#tip").text == "log10 of the squared Frobenius norm."


def test_a_row_of_the_table_opens_and_keys_lead_on(page):
    from selenium.webdriver import Keys

    first, second, *_ = names(page)
    one(page, "tbody tr[data-row] td").click()
    assert opens(page, first)
    press(page, Keys.ARROW_RIGHT)
    assert opens(page, second)
    press(page, Keys.ESCAPE)
    assert not one(page, "#panel").is_displayed()


def test_a_mark_against_depth_opens_its_layer(page):
    from selenium.webdriver import ActionChains

    change = next(row.relative_change for row in compared.comparison().rows if row.name == "layers.2.noise")
    hover(page, page.find_elements("css selector", "#moved .mark")[2])
    assert one(page, "#tip").text == f"layers.2.noise\nnoise, relative change {change:.3g}"
    ActionChains(page).click().perform()
    assert opens(page, "layers.2.noise")


def test_columns_sort_up_then_down_then_back(page):
    before = names(page)
    for order in (sorted, lambda values: sorted(values, reverse=True)):
        one(page, "th[data-column=relative_change] button").click()
        values = numbers(column(page, "relative_change"))
        assert values == order(values)
    one(page, "th[data-column=relative_change] button").click()
    assert names(page) == before


def test_words_statuses_and_kinds_of_change_choose_rows(page):
    one(page, "#search").send_keys("noise layers.1")
    assert names(page) == ["layers.1.noise"]
    one(page, "#search").clear()
    one(page, "#search").send_keys(" ")
    for kind in ("low rank", "dense"):
        one(page, f'#kinds button[value="{kind}"]').click()
    assert names(page) == ["lora", "dense"]
    assert one(page, '#kinds button[value="dense"]').get_attribute("aria-pressed") == "true"
    for kind in ("low rank", "dense"):
        one(page, f'#kinds button[value="{kind}"]').click()
    one(page, "#status input[value=skipped] + span").click()
    assert names(page) == [f"layers.{i}.bias" for i in range(compared.LAYERS)]


def test_another_metric_changes_chart_and_table(page):
    assert "alpha_change" in texts(page, "thead tr:last-child th")
    assert page.find_elements("css selector", "#depth line.bar")
    choose(page, "entropy")
    assert "entropy_change" in texts(page, "thead tr:last-child th")
    assert "alpha_change" not in texts(page, "thead tr:last-child th")
    assert "change of entropy" in texts(page, "#depth .title")
    assert page.find_elements("css selector", "#depth line.bar") == []
    assert "its change is exact" in one(page, "#depth-caption").text
    one(page, "#figures button[data-metric=stable_rank]").click()
    assert one(page, "#metric").get_attribute("value") == "stable_rank"
    assert one(page, "#figures button[data-metric=stable_rank]").get_attribute("aria-pressed") == "true"


def test_marks_of_a_metric_are_filled_where_its_change_is_beyond_its_interval(page):
    choose(page, "sigma_mp")
    rows = [row for row in compared.comparison().rows if row.change != "none" and "sigma_mp" in row.metrics]
    known = [row.metrics["sigma_mp"] for row in rows if np.isfinite(row.metrics["sigma_mp"].change)]
    shown = page.find_elements("css selector", "#depth .mark")
    assert len(shown) == len(known)
    sure = sum(found.lo < found.hi and (found.lo > 0 or found.hi < 0) for found in known)
    assert len([mark for mark in shown if "open" not in mark.get_attribute("class").split()]) == sure > 0


def test_every_metric_can_be_drawn(page):
    for option in texts(page, "#metric option"):
        choose(page, option)
        assert page.find_elements("css selector", "#depth svg")


def test_light_and_dark_are_two(page):
    before = page.execute_script(BACKGROUND)
    said = one(page, "#theme").text
    one(page, "#theme").click()
    assert page.execute_script(BACKGROUND) != before
    assert {said, one(page, "#theme").text} == {"light", "dark"}


def test_nothing_sticks_out_sideways(width, page):
    assert sideways(page) <= 0
    for name in ("spiked", "lora", "conv"):
        assert go(page, name)
        assert sideways(page) <= 0
        assert sideways(page, "#panel") <= 0


def test_models_of_vectors_alone_and_equal_models_have_a_page(driver, tmp_path):
    W = np.random.default_rng(0).standard_normal((60, 40))
    for base, tuned in [({"b": np.ones(5)}, {"b": np.full(5, 1.5)}), ({"fc": W}, {"fc": W}), ({"z": 0 * W}, {"z": W})]:
        for page in visit(driver, written(tmp_path, render(compare(base, tuned, jobs=1)))):
            assert page.find_elements("css selector", "#moved .calm")
            assert page.execute_script(_BROKEN) == []


def test_five_hundred_layers_are_drawn_in_time(driver, tmp_path):
    comparison = compared.comparison()
    layers = [layer for layer in comparison.layers if layer.row.name in {"spiked", "dense", "layers.0.noise"}]
    many = tuple(
        replace(layers[i % 3], row=replace(layers[i % 3].row, name=f"layers.{i}.{layers[i % 3].row.name}"))
        for i in range(500)
    )
    large = replace(comparison, layers=many, summary=summarise(layer.row for layer in many))
    for page in visit(driver, written(tmp_path, render(large))):
        assert len(page.find_elements("css selector", "#moved .mark")) == 500
        assert len(page.find_elements("css selector", "tbody tr[data-row]")) < 120
        assert page.execute_script("const t = performance.now(); layers.go(250); return performance.now() - t") < 2000
