/* The page of a comparison: which rows and columns are shown, how far layers moved, and a metric against depth. */

const everything = Object.keys(data.columns);
const texts = new Set(["name", "tuned_name", "kind", "base_dtype", "tuned_dtype", "status", "reason", "base_phase",
  "tuned_phase", "change"]);
const isMatrix = (row) => value("N", row) !== null;
const matrices = all.filter(isMatrix);

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
let chosen = data.metrics.find((metric) => metric === "alpha");

const table = createTable(byId("scroller"), {
  columns: everything, groups: data.groups, definitions: data.definitions, meanings: {}, value, texts, link,
  onOpen: (row) => layers.go(row),
});
const panel = createPanel(byId("panel"), { sections: compareSections(), onClose: () => layers.close() });
const layers = createLayers({ table, panel, onChange: drawCharts });

/* Filters. */

const STATUSES = { matrices: isMatrix, ...withStatus("unmatched", "failed", "unsupported", "skipped"), all: () => true };

/* The kind of change by the word on its button. */
const kindOfChange = (row) => value("change", row) || (value("status", row) === "ok" ? "too small to tell" : "");

function applyFilter() {
  const said = saysAll(filter.text, (row) => ["name", "tuned_name", "change", "base_phase", "tuned_phase"]
    .map((column) => value(column, row) ?? "").join("\n"));
  const ofStatus = STATUSES[filter.status];
  showRows(table, all.filter((row) => ofStatus(row) && (!filter.kind || value("kind", row) === filter.kind)
    && (!filter.changes.size || (value("status", row) === "ok" && filter.changes.has(kindOfChange(row)))) && said(row)));
  drawCharts();
}

function applyColumns() {
  const sound = filter.status === "matrices" && matrices.every((row) => value("status", row) === "ok");
  const isKey = (column, group) => KEY.has(column) || group === chosen || (column === "status" && !sound)
    || (column === "reason" && filter.status !== "matrices");
  const isChosen = (group) => columns.groups.has(group) || (data.metrics.includes(group) && columns.groups.has(ALL_METRICS));
  table.setColumns(Object.entries(data.groups).flatMap(([group, members]) => members.filter((column) => column === "name"
    || ((isChosen(group) || (columns.key && isKey(column, group))) && data.columns[column] !== null))));
}

function buildControls() {
  const kinds = [...new Set(matrices.map((row) => value("kind", row)))].filter(Boolean).sort();
  byId("kind").append(...kinds.map((kind) => make("option", { value: kind }, kind)));
  byId("kind").hidden = kinds.length < 2;
  byId("kind").addEventListener("change", (event) => { filter.kind = event.target.value; applyFilter(); });
  watchSearch((text) => { filter.text = text; applyFilter(); });
  buildStatuses(STATUSES, (status) => {
    filter.status = status;
    applyColumns();
    applyFilter();
  });
  const own = Object.keys(data.groups).filter((group) => !data.metrics.includes(group));
  buildGroups([...own, ALL_METRICS], columns, applyColumns);
}

function buildKinds() {
  const buttons = document.querySelectorAll("#kinds button");
  buttons.forEach((button) => button.prepend(changeIcon(button.value)));
  watchPressed(buttons, filter.changes, applyFilter);
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
    .map((what) => value(`${chosen}_${what}`, row));
  if (changed === null) return `${value("name", row)}\nno ${chosen} in both models`;
  const text = (what, number) => show(`${chosen}_${what}`, number);
  const ends = low < high ? ` (${significant(low)} to ${significant(high)})` : "";
  return `${value("name", row)}\n${chosen} ${text("base", base)} → ${text("tuned", tuned)}\nchange ${text("change", changed)}${ends}`;
}

function drawCharts() {
  const shared = {
    rows: matrices, value, matched: new Set(table.view()), selected: layers.selected, open: layers.go, left: 96,
  };
  drawMoved(byId("moved"), { ...shared, middle: data.median, label: movedLabel });
  drawLanes(byId("lanes"), LANES, { ...shared, label: movedLabel });
  drawChange(byId("depth"), chosen,
    { ...shared, computed: data.computed.includes(chosen), label: changeLabel });
}

function chooseMetric(metric) {
  chosen = metric;
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
  const known = data.metrics.filter((metric) => metric === chosen || data.columns[`${metric}_change`] !== null);
  select.append(...known.map((metric) => make("option", { value: metric }, metric)));
  select.addEventListener("change", () => chooseMetric(select.value));
  const key = (kind, text) => make("span", {}, icon(mark(0, 4, { class: kind })), text);
  byId("depth-legend").append(key("open", "may be no change"), key("", "beyond its interval"));
  document.querySelectorAll("#figures button").forEach((button) =>
    button.addEventListener("click", () => chooseMetric(button.dataset.metric)));
}

buildControls();
buildKinds();
buildDepth();
applyFilter();
chooseMetric(chosen);
layers.follow();
watchWidth(byId("moved"), drawCharts);
