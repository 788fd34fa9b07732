/* The page of a report: which rows and columns are shown, and a metric against depth. */

const everything = Object.keys(data.columns);
const texts = new Set(["name", "kind", "dtype", "status", "reason", "tail", "warning", "phase"]);
const isMatrix = (row) => value("status", row) !== "skipped";
const matrices = all.filter(isMatrix);

const filter = { text: "", kind: "", tail: "", phases: new Set(), status: "matrices" };
const order = ["identity", "phase", "shape", "scale", "noise"].filter((group) => group in data.groups);
const groups = Object.fromEntries([...order, ...Object.keys(data.groups)].map((group) => [group, data.groups[group]]));
const columns = { key: true, groups: new Set(), empty: false };
const KEY = new Set(["name", "kind", "status", "N", "M", "log_norm", "log_spectral_norm", "stable_rank",
  "rank_loss", "entropy", "alpha", "alpha_lo", "alpha_hi", "D", "num_pl_spikes", "p_value", "tail", "warning",
  "alpha_weighted", "tail_excess", "tail_score", "num_spikes", "num_traps", "phase"]);

const table = createTable(byId("scroller"), {
  columns: everything, groups, definitions: data.definitions, meanings: data.meanings, value, texts, link,
  onOpen: (row) => layers.go(row),
});
const panel = createPanel(byId("panel"), { sections: reportSections(groups), onClose: () => layers.close() });
const layers = createLayers({ table, panel, onChange: drawDepthChart });

/* Filters. */

const STATUSES = { matrices: isMatrix, ...withStatus("failed", "unsupported", "skipped"), all: () => true };

function applyFilter() {
  const named = saysAll(filter.text, (row) => `${value("name", row)}\n${value("phase", row) ?? ""}`);
  const inPhase = (row) => !filter.phases.size || filter.phases.has(value("phase", row));
  const chosen = (column) => (row) => !filter[column] || value(column, row) === filter[column];
  const [ofKind, ofTail] = [chosen("kind"), chosen("tail")];
  const ofStatus = STATUSES[filter.status];
  showRows(table, all.filter((row) => ofStatus(row) && ofKind(row) && ofTail(row) && inPhase(row) && named(row)));
  drawDepthChart();
}

function applyColumns() {
  const isKey = (column) => KEY.has(column) || (column === "reason" && filter.status !== "matrices");
  table.setColumns(Object.entries(groups).flatMap(([group, members]) => members.filter((column) =>
    column === "name" || ((columns.groups.has(group) || (columns.key && isKey(column)))
      && (columns.empty || data.columns[column] !== null)))));
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
  watchSearch((text) => { filter.text = text; applyFilter(); });
  buildStatuses(STATUSES, (status) => {
    filter.status = status;
    applyColumns();
    applyFilter();
  });
  const filled = (group) => groups[group].some((column) => data.columns[column] !== null);
  buildGroups(Object.keys(groups).filter(filled), columns, applyColumns);
  const empty = everything.filter((column) => data.columns[column] === null).length;
  if (empty) chip(byId("groups"), "checkbox", "group", "empty columns", false, (on) => {
    columns.empty = on;
    applyColumns();
  });
  return new Map(matrices.map((row) => [row, Math.max(0, kinds.indexOf(value("kind", row)))]));
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
    rows: matrices, value, matched: new Set(table.view()), selected: layers.selected, open: layers.go, left: strip ? 82 : 52,
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
  kinds.sort((a, b) => a[1] - b[1]);
  byId("depth-legend").append(...kinds.map(([kind, index]) => make("span", {}, icon(mark(index, 4)), kind ?? "")),
    make("span", { id: "band" }, make("i", { class: "key band" }), "α of well-trained layers, 2 to 6 (Martin, Peng & Mahoney 2021)"));
  document.querySelectorAll("#figures button").forEach((button) => {
    const ok = matrices.filter((row) => value("status", row) === "ok" && value(button.dataset.metric, row) !== null);
    const values = ok.map((row) => value(button.dataset.metric, row));
    drawSpark(button, values, values.reduce((sum, number) => sum + number, 0) / values.length);
    button.addEventListener("click", () => { select.value = button.dataset.metric; drawDepthChart(); });
  });
}

kindOf = buildControls();
watchPressed(document.querySelectorAll("#phases button"), filter.phases, applyFilter);
buildDepth();
applyColumns();
applyFilter();
layers.follow();
watchWidth(byId("depth"), drawDepthChart);
