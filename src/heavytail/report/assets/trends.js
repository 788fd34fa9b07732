/* Metrics against quality: a scatter a series, all series pooled, and two tables. */

const models = range(0, data.models.length - 1);
const seriesName = (series) => data.series[series] || (data.series.length > 1 ? "no series" : "all models");
const quality = `${shortened(data.quality, 26)}, ${data.better} is better`;

/* Numbers with their intervals. */

const plain = (value) => (value === null ? "–" : significant(value));
const exact = (value) => significant(value, 5);
const two = (value) => (value === null ? "–" : signed(value.toFixed(2).replace(/^-(0\.00)$/, "$1")));

/* An estimate with its interval, all three by one way of writing. */
const interval = (text, [value, low, high]) =>
  (value === null ? "–" : low === null ? text(value) : `${text(value)} (${text(low)} to ${text(high)})`);

const chance = (p) => (p === null ? "–" : p < 1e-4 ? significant(p, 2) : String(Number(p.toPrecision(2))));

const share = (estimate) => interval(two, estimate);

/* A slope of any size: its three leading digits, and the interval to the same decimals. */
function slope(estimate) {
  const power = Math.floor(Math.log10(Math.abs(estimate[0]) || 1));
  return interval(power < -3 || power > 4 ? plain : (value) => signed(value.toFixed(Math.max(0, 2 - power))), estimate);
}

const badge = (verdict) => make("span", { class: `verdict-of ${verdict.replace(" ", "-")}` }, verdict);

/* A name, which may break behind a slash. */
const name = (text) =>
  make("bdi", { dir: "ltr" }, ...text.split(/(?<=\/)/).flatMap((part, i) => (i ? [make("wbr"), part] : [part])));

const way = (sign) => (sign > 0 ? "rises" : sign < 0 ? "falls" : "is flat");

/* Panels. */

const known = (metric) => models.filter((model) => metric.x[model] !== null && data.y[model] !== null);

const asPoints = (metric, members, kind) => members.map((model) => ({
  x: metric.x[model], y: data.y[model], kind: kind(model), series: data.of[model], name: data.models[model],
  said: [data.models[model], seriesName(data.of[model]), `${metric.title} ${exact(metric.x[model])}`,
    `${data.quality} ${exact(data.y[model])}`],
}));

function panel(title, verdict, found, ...more) {
  const host = make("div", { class: "chart" });
  const said = found.n > 2 ? [`R² ${two(found.r2[0])}`, `τ ${share(found.tau)}`] : ["no line through two points"];
  const stats = make("p", { class: "stats" }, ...[`n ${found.n}`, ...said].map((text) => make("span", {}, text)));
  return { host, card: make("article", { class: "panel" }, make("header", {}, title, verdict), stats, ...more, host) };
}

function seriesPanel(metric, found) {
  const title = make("h3", {}, icon(mark(found.series, 4.2)), name(seriesName(found.series)));
  const { host, card } = panel(title, badge(found.verdict), found);
  card.dataset.series = found.series;
  const members = known(metric).filter((model) => data.of[model] === found.series);
  const draw = () => scatter(host, {
    points: asPoints(metric, members, () => found.series), line: found.line, firm: found.firm,
    xLabel: metric.title, yLabel: quality, title: `${metric.title} against ${data.quality}: ${seriesName(found.series)}`,
  });
  return { card, host, draw };
}

function pooledPanel(metric) {
  const { pooled, within } = metric;
  const opposed = metric.opposed ? make("span", { class: "verdict-of opposed" }, "opposes the series") : null;
  const unsure = [["pooled", pooled], ["within", within]]
    .filter(([, { slope: [, low, high] }]) => Math.sign(low) * Math.sign(high) !== 1);
  const said = metric.opposed
    ? `Simpson's paradox: the line through all models ${way(pooled.slope[0])}, within series it ${way(within.slope[0])}` +
      `${["", `; the slope ${unsure[0]?.[0]} may be zero`, "; either slope may be zero"][unsure.length]}.` : null;
  const { host, card } = panel(make("h3", {}, "All series pooled"), opposed ?? "", pooled,
    ...(said ? [make("p", { class: "paradox" }, said)] : []));
  card.classList.add("pooled");
  const shown = new Set(metric.panels.map(({ series }) => series));
  const draw = () => scatter(host, {
    points: asPoints(metric, known(metric), (model) => (shown.has(data.of[model]) ? data.of[model] : null)),
    line: pooled.line, firm: pooled.firm, segments: metric.panels.filter(({ line }) => line),
    xLabel: metric.title, yLabel: quality, title: `${metric.title} against ${data.quality}: all series pooled`,
  });
  return { card, host, draw };
}

/* A panel under the pointer or with the focus makes the other series of the pooled panel faint. */
function watchPanels(host) {
  const light = ({ target }) => {
    const series = target.closest?.(".panel")?.dataset.series;
    host.querySelectorAll(".pooled [data-series]").forEach((node) =>
      node.classList.toggle("faint", series !== undefined && node.dataset.series !== series));
  };
  for (const kind of ["pointerover", "focusin"]) host.addEventListener(kind, light);
  for (const kind of ["pointerleave", "focusout"]) host.addEventListener(kind, () => light({ target: host }));
}

let redraw = () => {};

function drawPanels(metric) {
  const several = data.series.length > 1 && known(metric).length > 0;
  const panels = [...(several ? [pooledPanel(metric)] : []), ...metric.panels.map((found) => seriesPanel(metric, found))];
  byId("panels").className = metric.panels.length > 2 ? "many" : "few";
  byId("panels").replaceChildren(...panels.map(({ card }) => card));
  redraw = () => {
    panels.forEach(({ host }) => host.replaceChildren());
    panels.forEach(({ host }) => {
      host.style.minHeight = `${Math.min(Math.max(224, 0.62 * host.clientWidth), 380)}px`;
    });
    panels.forEach(({ draw }) => draw());
  };
  redraw();
  const small = metric.small.filter(([, n]) => n).map(([series, n]) => `${seriesName(series)} (${n})`);
  const absent = models.length - known(metric).length;
  byId("small").textContent = [
    small.length ? `Too few models for a panel, grey rings where pooled: ${small.join(", ")}.` : "",
    absent ? `${absent} of ${models.length} models have no value of ${metric.name} or no ${data.quality}.` : "",
  ].join(" ");
  byId("small").hidden = !byId("small").textContent.trim();
}

/* What the theory expects of the chosen metric, and what the models show. */
function reading({ title, name: column, direction, expected, verdict, within, pooled }) {
  const theory = expected
    ? `The theory expects the better model to have the ${direction < 0 ? "smaller" : "larger"} value, so that ` +
      `${data.quality} ${way(expected)} with it.`
    : "The theory expects no direction.";
  const several = data.series.length > 1;
  const signs = `falls in ${within.negative}, rises in ${within.positive} of ${within.groups} series`;
  const line = (heading, ...numbers) => make("p", { class: "stats" }, make("b", {}, heading),
    ...numbers.map((text) => make("span", {}, text)));
  byId("reading").replaceChildren(
    make("p", {}, make("b", {}, title), column === title ? "" : name(column), badge(verdict), theory),
    line(several ? "within series" : "all models", `slope ${slope(within.slope)}`, `R² ${two(within.r2)}`,
      `τ ${two(within.tau)}`, `adjusted p ${chance(within.adjusted)}`, ...(several ? [signs] : [])),
    ...(several ? [line("pooled", `slope ${slope(pooled.slope)}`, `R² ${two(pooled.r2[0])}`,
      `τ ${two(pooled.tau[0])}`)] : []));
}

/* Tables. */

function drawTable(host, columns, rows) {
  const groups = new Map();
  Object.values(columns).forEach(([group]) => groups.set(group, (groups.get(group) ?? 0) + 1));
  const above = [...groups].map(([group, span]) => make("th", { colspan: span, scope: "colgroup" }, group));
  const head = Object.entries(columns).map(([key, [, label, meaning]]) =>
    make("th", { scope: "col", class: rows[0]?.cells[key].text ? null : "number" },
      make("span", { tabindex: 0, "data-tip": meaning }, label)));
  const body = rows.map(({ cells, chosen, open }) => {
    const row = make("tr", { class: chosen ? "selected" : null }, ...Object.keys(columns).map((key, i) => {
      const { text, number } = cells[key];
      return make(i ? "td" : "th", { scope: i ? null : "row", class: text ? null : "number" }, text ?? number);
    }));
    if (open) row.addEventListener("click", open);
    row.classList.toggle("opens", Boolean(open));
    return row;
  });
  const top = make("thead", {}, make("tr", { class: "groups" }, ...above), make("tr", {}, ...head));
  host.replaceChildren(make("table", {}, top, make("tbody", {}, ...body)));
}

const address = (metric) => "#metric=" + encodeURIComponent(metric.name);

function drawOverview(chosen) {
  drawTable(byId("overview-table"), data.overview, data.metrics.map((metric) => ({
    chosen: metric === chosen,
    open: () => { location.hash = address(metric); },
    cells: {
      metric: { text: make("a", { href: address(metric) }, name(metric.name)) },
      theory: { text: { "-1": "smaller", 0: "–", 1: "larger" }[metric.direction] },
      verdict: { text: badge(metric.verdict) },
      within_slope: { number: slope(metric.within.slope) },
      within_r2: { number: two(metric.within.r2) },
      within_tau: { number: two(metric.within.tau) },
      within_p: { number: chance(metric.within.adjusted) },
      signs: { number: `${metric.within.negative} / ${metric.within.positive}` },
      pooled_slope: { number: slope(metric.pooled.slope) },
      pooled_r2: { number: two(metric.pooled.r2[0]) },
      pooled_tau: { number: two(metric.pooled.tau[0]) },
      opposed: { text: metric.opposed ? make("span", { class: "verdict-of opposed" }, "opposed") : "–" },
      sign_error: { number: two(metric.sign_error) },
      robust: { number: two(metric.robust) },
    },
  })));
}

function drawSeries(metric) {
  const cells = (series, verdict, found) => ({ cells: {
    series: { text: series },
    verdict: { text: verdict },
    n: { number: String(found.n) },
    slope: { number: slope(found.slope) },
    r2: { number: share(found.r2) },
    tau: { number: share(found.tau) },
    rho: { number: share(found.rho) },
    rmse: { number: plain(found.rmse) },
    loo_rmse: { number: plain(found.loo_rmse) },
    loo_r2: { number: two(found.loo_r2) },
    p: { number: chance(found.p) },
    adjusted: { number: chance(found.adjusted ?? null) },
    sign_error: { number: two(found.sign_error) },
  } });
  const pooled = data.series.length > 1 ? [cells("all series pooled", "–", metric.pooled)] : [];
  byId("series-title").replaceChildren("Series: ", name(metric.name));
  drawTable(byId("series-table"), data.columns, [
    ...metric.panels.map((found) => cells(name(seriesName(found.series)), badge(found.verdict), found)), ...pooled]);
}

/* The chosen metric: its name is in the address. */

let chosen = null;

function choose(metric) {
  chosen = metric;
  byId("metrics").querySelectorAll("input").forEach((input, i) => { input.checked = data.metrics[i] === metric; });
  reading(metric);
  drawPanels(metric);
  drawOverview(metric);
  drawSeries(metric);
}

function buildMetrics() {
  byId("metrics").append(...data.metrics.map((metric) => {
    const input = make("input", { type: "radio", name: "metric", value: metric.name });
    input.addEventListener("change", () => { location.replace(address(metric)); });
    return make("label", { "data-tip": `${metric.title}\n${metric.verdict} within series` +
      `${metric.opposed ? "\npooled and within slopes differ in sign" : ""}` }, input,
    make("span", { class: `verdict-of ${metric.verdict.replace(" ", "-")}` }, name(metric.name)));
  }));
}

function followAddress() {
  const typed = addressed("metric");
  const metric = data.metrics.find(({ name: known }) => known === typed);
  if (metric || !chosen) choose(metric ?? data.metrics[0]);
}

watchPanels(byId("panels"));
buildMetrics();
followAddress();
addEventListener("hashchange", followAddress);
watchWidth(byId("panels"), () => redraw());
