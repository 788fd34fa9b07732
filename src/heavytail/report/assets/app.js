/* The page: data, filters, deep links, keys, theme. */

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const everything = Object.keys(data.columns);
const all = range(0, data.count - 1);
const value = (column, row) => data.columns[column]?.[row] ?? null;
const link = (row) => "#layer=" + encodeURIComponent(value("name", row) ?? "");
const texts = new Set(["name", "kind", "dtype", "status", "reason", "tail", "warning", "phase"]);
const isMatrix = (row) => value("status", row) !== "skipped";
const matrices = all.filter(isMatrix);
const rowOf = new Map(all.map((row) => [link(row), row]).reverse());

const filter = { text: "", kind: "", tail: "", phases: new Set(), status: "matrices" };
const order = ["identity", "phase", "shape", "scale", "noise"].filter((group) => group in data.groups);
const groups = Object.fromEntries([...order, ...Object.keys(data.groups)].map((group) => [group, data.groups[group]]));
const columns = { key: true, groups: new Set(), empty: false };
const KEY = new Set(["name", "kind", "status", "N", "M", "log_norm", "log_spectral_norm", "stable_rank",
  "rank_loss", "entropy", "alpha", "alpha_lo", "alpha_hi", "D", "num_pl_spikes", "p_value", "tail", "warning",
  "alpha_weighted", "tail_excess", "tail_score", "num_spikes", "num_traps", "phase"]);
const current = { row: null };

const table = createTable(byId("scroller"), {
  columns: everything, groups, definitions: data.definitions, meanings: data.meanings, value, texts, link,
  onOpen: (row) => go(row),
});

const panel = createPanel(byId("panel"), {
  data, groups, value, link, neighbours, onClose: close,
});

/* Filters. */

const STATUSES = {
  matrices: ["matrices", isMatrix],
  failed: ["failed", (row) => value("status", row) === "failed"],
  unsupported: ["unsupported", (row) => value("status", row) === "unsupported"],
  skipped: ["skipped", (row) => value("status", row) === "skipped"],
  all: ["all", () => true],
};

function applyFilter() {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const said = (row) => `${value("name", row)}\n${value("phase", row) ?? ""}`.toLowerCase();
  const named = (row) => words.every((word) => said(row).includes(word));
  const inPhase = (row) => !filter.phases.size || filter.phases.has(value("phase", row));
  const chosen = (column) => (row) => !filter[column] || value(column, row) === filter[column];
  const [ofKind, ofTail] = [chosen("kind"), chosen("tail")];
  const [, ofStatus] = STATUSES[filter.status];
  const view = all.filter((row) => ofStatus(row) && ofKind(row) && ofTail(row) && inPhase(row) && named(row));
  table.setView(view);
  const part = view.length < data.count ? `${grouped(view.length)} of ` : "";
  byId("shown").textContent = `${part}${grouped(data.count)} rows`;
  drawDepthChart();
}

function applyColumns() {
  const isKey = (column) => KEY.has(column) || (column === "reason" && filter.status !== "matrices");
  table.setColumns(Object.entries(groups).flatMap(([group, members]) => members.filter((column) =>
    column === "name" || ((columns.groups.has(group) || (columns.key && isKey(column)))
      && (columns.empty || data.columns[column] !== null)))));
}

function chip(host, type, name, content, checked, onChange) {
  const input = make("input", { type, name, value: content });
  input.checked = checked;
  input.addEventListener("change", () => onChange(input.checked));
  host.append(make("label", {}, input, make("span", {}, content)));
  return input;
}

/* Offer the texts of a column, the most frequent first. */
function choice(column) {
  const often = new Map();
  matrices.forEach((row) => often.set(value(column, row), (often.get(value(column, row)) || 0) + 1));
  const known = [...often.keys()].filter(Boolean).sort((a, b) => often.get(b) - often.get(a) || (a < b ? -1 : 1));
  byId(column).append(...known.map((text) => make("option", { value: text }, text)));
  byId(column).addEventListener("change", (event) => { filter[column] = event.target.value; applyFilter(); });
  return known;
}

function buildControls() {
  const kinds = choice("kind");
  byId("tail").hidden = choice("tail").length < 2;
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
  const filled = (group) => groups[group].some((column) => data.columns[column] !== null);
  for (const group of Object.keys(groups).filter(filled)) {
    chip(byId("groups"), "checkbox", "group", group, false, (on) => {
      columns.groups[on ? "add" : "delete"](group);
      applyColumns();
    });
  }
  const empty = everything.filter((column) => data.columns[column] === null).length;
  if (empty) chip(byId("groups"), "checkbox", "group", "empty columns", false, (on) => {
    columns.empty = on;
    applyColumns();
  });
  return new Map(matrices.map((row) => [row, Math.max(0, kinds.indexOf(value("kind", row)))]));
}

/* Each button adds the layers of its phase to those that are shown; none pressed shows all. */
function buildPhases() {
  document.querySelectorAll("#phases button").forEach((button) => button.addEventListener("click", () => {
    if (button.hasAttribute("aria-disabled")) return;
    if (!filter.phases.delete(button.value)) filter.phases.add(button.value);
    button.setAttribute("aria-pressed", filter.phases.has(button.value));
    applyFilter();
  }));
}

/* Against depth. */

let kindOf = null;

function label(metric, row) {
  const number = value(metric, row);
  const said = number === null ? `no ${metric}${value("reason", row) ? ": " + value("reason", row) : ""}`
    : `${metric} ${metric === "alpha" ? withInterval(number, value("alpha_lo", row), value("alpha_hi", row)) : show(metric, number)}`;
  return `${value("name", row)}\n${said}`;
}

function drawDepthChart() {
  const metric = byId("metric").value || "alpha";
  const strip = byId("strip");
  const shared = {
    rows: matrices, value, matched: new Set(table.view()), selected: () => current.row, open: go, left: strip ? 82 : 52,
  };
  drawDepth(byId("depth"), metric, { ...shared, kinds: kindOf, label });
  if (strip) drawStrip(strip, { ...shared, meanings: data.meanings, margin: sideRoom(matrices),
    reason: (row) => data.phases[row]?.reason });
  byId("band").hidden = metric !== "alpha";
  byId("depth-caption").textContent = [data.definitions[metric],
    metric === "alpha" ? "Bars are 95 % intervals, the choice of the tail's start included. Noise lies in the band too: " +
      "98 % of Gaussian matrices of 64 × 64, 38 % of 256 × 256, 3 % of 1024 × 1024." : "",
    "An arrow at the edge is a value beyond the axis; a cross at the foot is a layer without a value.",
    strip ? "Below stands the phase of each layer, as tall as it is likely" +
      `${matrices.some((row) => value("phase", row) && value("phase_probability", row) === null)
        ? ", hollow where no phase looks like it" : ""}.` : ""].join(" ");
  document.querySelectorAll("#figures button").forEach((button) =>
    button.setAttribute("aria-pressed", button.dataset.metric === metric));
}

function buildDepth() {
  const select = byId("metric");
  select.append(...METRICS.filter((metric) => metric === "alpha" || data.columns[metric] !== null).map((metric) =>
    make("option", { value: metric }, metric)));
  select.addEventListener("change", drawDepthChart);
  const kinds = [...new Map(matrices.map((row) => [value("kind", row), kindOf.get(row)]))];
  const icon = (index) =>
    shape("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" }, mark(index, 4));
  kinds.sort((a, b) => a[1] - b[1]);
  byId("depth-legend").append(...kinds.map(([kind, index]) => make("span", {}, icon(index), kind ?? "")),
    make("span", { id: "band" }, make("i", { class: "key band" }), "α of well-trained layers, 2 to 6 (Martin, Peng & Mahoney 2021)"));
  document.querySelectorAll("#figures button").forEach((button) => {
    const ok = matrices.filter((row) => value("status", row) === "ok" && value(button.dataset.metric, row) !== null);
    const values = ok.map((row) => value(button.dataset.metric, row));
    drawSpark(button, values, values.reduce((sum, number) => sum + number, 0) / values.length);
    button.addEventListener("click", () => { select.value = button.dataset.metric; drawDepthChart(); });
  });
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
  drawDepthChart();
}

function close() {
  const row = current.row;
  current.row = null;
  panel.close();
  table.select(null);
  table.focus(row);
  drawDepthChart();
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
kindOf = buildControls();
buildPhases();
buildDepth();
applyColumns();
applyFilter();
followAddress();
addEventListener("hashchange", followAddress);
let depthWidth = byId("depth").clientWidth;
new ResizeObserver(() => {
  if (byId("depth").clientWidth === depthWidth) return;
  depthWidth = byId("depth").clientWidth;
  drawDepthChart();
}).observe(byId("depth"));
