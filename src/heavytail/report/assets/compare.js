/* The page of a comparison: data, filters, deep links, keys, theme. */

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const everything = Object.keys(data.columns);
const all = range(0, data.count - 1);
const value = (column, row) => data.columns[column]?.[row] ?? null;
const link = (row) => "#layer=" + encodeURIComponent(value("name", row) ?? "");
const texts = new Set(["name", "tuned_name", "kind", "base_dtype", "tuned_dtype", "status", "reason", "base_phase",
  "tuned_phase", "change"]);
const isMatrix = (row) => value("N", row) !== null;
const matrices = all.filter(isMatrix);
const rowOf = new Map(all.map((row) => [link(row), row]).reverse());

/* Both values of a metric are written as it is in a report, its change to three digits. */
for (const metric of data.metrics) {
  for (const side of ["base", "tuned"]) {
    if (metric in DECIMALS) DECIMALS[`${metric}_${side}`] = DECIMALS[metric];
    if (COUNTS.has(metric)) COUNTS.add(`${metric}_${side}`);
  }
}
DECIMALS.overlap = 4;
["delta_rank", "delta_num_spikes", "suggested_rank", "directions", "intruders"].forEach((column) => COUNTS.add(column));

const filter = { text: "", kind: "", changes: new Set(), status: "matrices" };
const columns = { key: true, groups: new Set() };
const KEY = new Set(["name", "kind", "N", "M", "change", "relative_change", "suggested_rank", "suggested_share",
  "delta_num_spikes", "overlap", "intruders"]);
const ALL_METRICS = "all metrics";
const current = { row: null, metric: data.metrics.find((metric) => metric === "alpha") };

const table = createTable(byId("scroller"), {
  columns: everything, groups: data.groups, definitions: data.definitions, meanings: {}, value, texts, link, onOpen: (row) => go(row),
});
const panel = createComparePanel(byId("panel"), { data, value, link, neighbours, onClose: close });

/* Filters. */

const STATUSES = {
  matrices: ["matrices", isMatrix],
  unmatched: ["unmatched", (row) => value("status", row) === "unmatched"],
  failed: ["failed", (row) => value("status", row) === "failed"],
  unsupported: ["unsupported", (row) => value("status", row) === "unsupported"],
  skipped: ["skipped", (row) => value("status", row) === "skipped"],
  all: ["all", () => true],
};

/* The kind of change by the word on its button. */
const kindOfChange = (row) => value("change", row) || (value("status", row) === "ok" ? "too small to tell" : "");

function applyFilter() {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const said = (row) => ["name", "tuned_name", "change", "base_phase", "tuned_phase"]
    .map((column) => value(column, row) ?? "").join("\n").toLowerCase();
  const [, ofStatus] = STATUSES[filter.status];
  const view = all.filter((row) => ofStatus(row) && (!filter.kind || value("kind", row) === filter.kind)
    && (!filter.changes.size || (value("status", row) === "ok" && filter.changes.has(kindOfChange(row))))
    && words.every((word) => said(row).includes(word)));
  table.setView(view);
  const part = view.length < data.count ? `${grouped(view.length)} of ` : "";
  byId("shown").textContent = `${part}${grouped(data.count)} rows`;
  drawCharts();
}

function applyColumns() {
  const sound = filter.status === "matrices" && matrices.every((row) => value("status", row) === "ok");
  const isKey = (column, group) => KEY.has(column) || group === current.metric || (column === "status" && !sound)
    || (column === "reason" && filter.status !== "matrices");
  const isChosen = (group) => columns.groups.has(group) || (data.metrics.includes(group) && columns.groups.has(ALL_METRICS));
  table.setColumns(Object.entries(data.groups).flatMap(([group, members]) => members.filter((column) => column === "name"
    || ((isChosen(group) || (columns.key && isKey(column, group))) && data.columns[column] !== null))));
}

function chip(host, type, name, content, checked, onChange) {
  const input = make("input", { type, name, value: content });
  input.checked = checked;
  input.addEventListener("change", () => onChange(input.checked));
  host.append(make("label", {}, input, make("span", {}, content)));
  return input;
}

function buildControls() {
  const kinds = [...new Set(matrices.map((row) => value("kind", row)))].filter(Boolean).sort();
  byId("kind").append(...kinds.map((kind) => make("option", { value: kind }, kind)));
  byId("kind").hidden = kinds.length < 2;
  byId("kind").addEventListener("change", (event) => { filter.kind = event.target.value; applyFilter(); });
  byId("search").addEventListener("input", (event) => { filter.text = event.target.value; applyFilter(); });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const [name, [text, holds]] of Object.entries(STATUSES)) {
    const count = all.filter(holds).length;
    if (!count && name !== "matrices") continue;
    const input = chip(byId("status"), "radio", "status", text, name === "matrices", () => {
      filter.status = name;
      applyColumns();
      applyFilter();
    });
    input.value = name;
    input.nextSibling.append(make("small", {}, grouped(count)));
  }
  chip(byId("groups"), "checkbox", "group", "key columns", true, (on) => {
    columns.key = on;
    applyColumns();
  });
  const own = Object.keys(data.groups).filter((group) => !data.metrics.includes(group));
  for (const group of [...own, ALL_METRICS]) {
    chip(byId("groups"), "checkbox", "group", group, false, (on) => {
      columns.groups[on ? "add" : "delete"](group);
      applyColumns();
    });
  }
}

/* Each button adds the layers of its kind of change to those that are shown; none pressed shows all. */
function buildKinds() {
  document.querySelectorAll("#kinds button").forEach((button) => {
    button.prepend(changeIcon(button.value));
    button.addEventListener("click", () => {
      if (button.hasAttribute("aria-disabled")) return;
      if (!filter.changes.delete(button.value)) filter.changes.add(button.value);
      button.setAttribute("aria-pressed", filter.changes.has(button.value));
      applyFilter();
    });
  });
  const found = [...Object.keys(data.kinds), "too small to tell"].filter((kind) =>
    matrices.some((row) => value("status", row) === "ok" && kindOfChange(row) === kind));
  byId("moved-legend").append(...found.map((kind) =>
    make("span", {}, changeIcon(kind), kind === "none" ? "unchanged" : kind)));
}

/* Against depth. */

const LANES = [["suggested_rank", "suggested rank"], ["intruders", "intruders"]];

function movedLabel(row) {
  const [size, rank, share] = ["relative_change", "suggested_rank", "suggested_share"].map((column) => value(column, row));
  const lines = [value("name", row)];
  if (value("status", row) !== "ok") lines.push(`${value("status", row)}: ${value("reason", row) ?? ""}`);
  else lines.push(`${kindOfChange(row) === "none" ? "unchanged" : kindOfChange(row)}, relative change ${show("relative_change", size)}`);
  if (rank) lines.push(`suggested rank ${rank}, ${percent(share)} of the change`);
  if (value("intruders", row)) lines.push(plural(value("intruders", row), "intruder"));
  return lines.join("\n");
}

function changeLabel(row) {
  const [base, tuned, changed, low, high] = ["base", "tuned", "change", "change_lo", "change_hi"]
    .map((what) => value(`${current.metric}_${what}`, row));
  if (changed === null) return `${value("name", row)}\nno ${current.metric} in both models`;
  const text = (what, number) => show(`${current.metric}_${what}`, number);
  const ends = low < high ? ` (${significant(low)} to ${significant(high)})` : "";
  return `${value("name", row)}\n${current.metric} ${text("base", base)} → ${text("tuned", tuned)}\nchange ${text("change", changed)}${ends}`;
}

function drawCharts() {
  const shared = {
    rows: matrices, value, matched: new Set(table.view()), selected: () => current.row, open: go, left: 96,
  };
  drawMoved(byId("moved"), { ...shared, middle: data.median, label: movedLabel });
  drawLanes(byId("lanes"), LANES, { ...shared, label: movedLabel });
  drawChange(byId("depth"), current.metric,
    { ...shared, computed: data.computed.includes(current.metric), label: changeLabel });
}

function chooseMetric(metric) {
  current.metric = metric;
  byId("metric").value = metric;
  const known = matrices.some((row) => value(`${metric}_change_lo`, row) < value(`${metric}_change_hi`, row));
  byId("depth-legend").hidden = !known;
  byId("depth-caption").textContent = [data.meanings[metric], known
    ? "Bars are 95 % intervals of the change and may run beyond the axis; a mark is filled where zero is outside its interval."
    : data.computed.includes(metric) ? "It is computed, not estimated: its change is exact."
    : "It is estimated, and the intervals of its changes are not known.",
  "An arrow at the edge is a change beyond the axis."].join(" ");
  document.querySelectorAll("#figures button").forEach((button) =>
    button.setAttribute("aria-pressed", button.dataset.metric === metric));
  applyColumns();
  drawCharts();
}

function buildDepth() {
  const select = byId("metric");
  const known = data.metrics.filter((metric) => metric === current.metric || data.columns[`${metric}_change`] !== null);
  select.append(...known.map((metric) => make("option", { value: metric }, metric)));
  select.addEventListener("change", () => chooseMetric(select.value));
  const key = (kind, text) => make("span", {},
    shape("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" }, mark(0, 4, { class: kind })), text);
  byId("depth-legend").append(key("open", "may be no change"), key("", "beyond its interval"));
  document.querySelectorAll("#figures button").forEach((button) =>
    button.addEventListener("click", () => chooseMetric(button.dataset.metric)));
}

/* The open layer: its name is in the address. */

function neighbours(row) {
  const view = table.view();
  const position = view.indexOf(row);
  return position < 0 ? { next: view[0], total: view.length }
    : { previous: view[position - 1], next: view[position + 1], position: position + 1, total: view.length };
}

function go(row) {
  if (location.hash === link(row)) openRow(row);
  else location.hash = link(row);
}

function openRow(row) {
  current.row = row;
  panel.open(row);
  table.select(row);
  drawCharts();
}

function close() {
  const row = current.row;
  current.row = null;
  panel.close();
  table.select(null);
  table.focus(row);
  drawCharts();
  history.replaceState(null, "", "#");
}

function followAddress() {
  const row = rowOf.get(location.hash) ?? rowOf.get("#" + encodeHash(location.hash.slice(1)));
  if (row !== undefined) openRow(row);
  else if (current.row !== null) close();
}

/* An address typed by hand, or changed by a mail program, may be encoded differently. */
function encodeHash(hash) {
  const [key, ...rest] = hash.split("=");
  try {
    return `${key}=${encodeURIComponent(decodeURIComponent(rest.join("=")))}`;
  } catch {
    return hash;
  }
}

function watchKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !tip.hidden) hideTip();
    if (current.row === null || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === "Escape") return close();
    const upDown = !event.target.closest("#panel");
    const { previous, next } = neighbours(current.row);
    const target = event.key === "ArrowLeft" || (upDown && event.key === "ArrowUp") ? previous
      : event.key === "ArrowRight" || (upDown && event.key === "ArrowDown") ? next : undefined;
    if (target === undefined) return;
    event.preventDefault();
    location.replace(link(target));
  });
}

/* Light and dark. */

function buildTheme() {
  const button = byId("theme");
  const root = document.documentElement;
  const preference = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : preference.matches);
  const name = () => { button.textContent = isDark() ? "light" : "dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  preference.addEventListener("change", name);
  name();
}

buildTheme();
watchTips();
watchKeys();
buildControls();
buildKinds();
buildDepth();
applyFilter();
chooseMetric(current.metric);
followAddress();
addEventListener("hashchange", followAddress);
let chartWidth = byId("moved").clientWidth;
new ResizeObserver(() => {
  if (byId("moved").clientWidth === chartWidth) return;
  chartWidth = byId("moved").clientWidth;
  drawCharts();
}).observe(byId("moved"));
