/* The page of a run: what is chosen, and all that follows it. The layer is in the address. */

const chosen = { layer: 0, seed: null, time: "epoch", measure: "accuracy", column: null };

const inLayer = (name) => name in data.columns.layer;
const labelOf = (name) => data.columns.network[name] ?? data.columns.end[name] ?? data.columns.layer[name];
const whole = (name) => labelOf(name) + (inLayer(name) ? ` of ${data.layers[chosen.layer]}` : "");
const titled = (text) => text.replace(/^[a-z]/, (letter) => letter.toUpperCase());
const partOf = (name) => (trial) => (inLayer(name) ? trial.layers[chosen.layer] : trial.network);
const lastOf = (values) => (values ? values[values.length - 1] : null);

/* Chips of which one is chosen. */
function radios(host, name, options, first, onChoose) {
  host.append(...options.map(([value, label]) => {
    const input = make("input", { type: "radio", name, value });
    input.checked = value === first;
    input.addEventListener("change", () => onChoose(value));
    return make("label", {}, input, make("span", {}, label));
  }));
  host.hidden = options.length < 2;
}

/* What the key names: each setting, or of many those of one place along the axis together. */
function keyEntries() {
  const every = data.settings.map(({ label }, setting) => ({ label, members: [setting] }));
  if (every.length <= MANY) return every;
  return range(0, places).map((place) => {
    const members = range(0, every.length - 1).filter((setting) => data.settings[setting].place === place);
    return { label: data.settings[members[0]].label.split(",")[0], members };
  });
}

/* The sign of an entry: a square, or where settings differ in more than their place the mark of the charts. */
function signOf({ members: [setting, ...others] }) {
  if (others.length || data.settings.every(({ variant }) => variant === 0)) return make("i", { class: "swatch" });
  return icon(shape("path", { d: MARKS[data.settings[setting].variant % MARKS.length](4.6), class: "look" }));
}

/* The key of the settings: those under the pointer or with the focus stand out, pressed ones stay. */
function buildSettings(host) {
  const kept = new Set();
  const light = (entry) => {
    const lit = new Set([...kept, ...(entry ? [entry] : [])].flatMap(({ members }) => members));
    document.querySelectorAll(".panel [data-setting], .sheet tr[data-setting]").forEach((node) =>
      node.classList.toggle("faint", lit.size > 0 && !lit.has(Number(node.dataset.setting))));
  };
  host.append(make("span", {}, data.axis), ...keyEntries().map((entry) => {
    const button = paint(make("button", { type: "button", "aria-pressed": "false" }, signOf(entry), entry.label), entry.members[0]);
    button.addEventListener("click", () => {
      if (!kept.delete(entry)) kept.add(entry);
      button.setAttribute("aria-pressed", kept.has(entry));
      light(kept.has(entry) ? entry : null);
    });
    for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, () => light(entry));
    for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, () => light(null));
    return button;
  }));
  host.hidden = !several;
  return () => light(null);
}

/* Curves: training and test as far as they are known, and any other number. */
function buildCurves(host) {
  const parts = [["train", "Training"], ["test", "Test"]];
  const shown = parts.map(([part, title]) => ({ part, title, ...card("") }));
  const select = make("select", { "aria-label": "Number along training" },
    ...[["layer", "of the layer"], ["network", "of the network"]].map(([kind, label]) => make("optgroup", { label },
      ...Object.entries(data.columns[kind]).map(([name, text]) => make("option", { value: name }, text)))));
  chosen.column = select.value;
  const other = card(select);
  host.append(...shown.map(({ node }) => node), other.node);
  const draw = () => {
    shown.forEach(({ part, title, host: place, node }) => {
      const name = `${part}_${chosen.measure}`;
      node.hidden = !labelOf(name);
      if (node.hidden) return;
      node.querySelector("h3").textContent = `${title} ${chosen.measure}`;
      drawCurves(place, { time: chosen.time, name, partOf: partOf(name), label: labelOf(name), title: `${title} ${chosen.measure} along training` });
    });
    drawOther();
  };
  const drawOther = () => {
    const label = whole(chosen.column);
    drawCurves(other.host, { time: chosen.time, name: chosen.column, partOf: partOf(chosen.column), label, title: `${label} along training` });
  };
  select.addEventListener("change", () => {
    chosen.column = select.value;
    drawOther();
    relight();
  });
  return draw;
}

const ENDS = ["steps_to_target", "test_accuracy", "sharpness", "mp_softrank", "stable_rank", "alpha"];

function buildEnds(host) {
  if (!host) return () => {};
  const shown = ENDS.filter(labelOf).map((name) => ({ name, ...card("") }));
  host.append(...shown.map(({ node }) => node));
  return () => shown.forEach(({ name, host: place, node }) => {
    const label = whole(name);
    node.querySelector("h3").textContent = titled(label);
    drawEnds(place, {
      label, title: `${label} at the end, against ${data.axis}`,
      ends: (i) => (inLayer(name) ? data.ends[i].layers[chosen.layer]?.[name] : data.ends[i].network[name]),
      seedsOf: (i) => trialsOf(i).map((trial) => lastOf(partOf(name)(trial)?.columns[name])).filter(known),
    });
  });
}

/* The measures of capacity: a line each, the error first. */
function drawCapacity(host) {
  const along = data.capacity.axis === "epoch" ? (text) => `epoch ${text}` : (text) => text;
  const head = ["measure", "τ with the error", ...data.capacity.heads.map(along)];
  const rows = data.capacity.rows.map(({ label, values, tau }) => make("tr", { class: tau ? null : "error" },
    make("th", { scope: "row" }, label), make("td", { class: "number" }, tau ? between95(tau) : ""),
    ...values.map((value) => make("td", value && known(value[1]) ? { class: "number", "data-tip": `${between95(value)}, ${plural(value[3], "seed")}` }
      : { class: "number" }, number(value?.[0])))));
  host.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text, i) =>
    make("th", { scope: "col", class: i ? "number" : null }, text)))), make("tbody", {}, ...rows)));
}

function drawRanges() {
  document.querySelectorAll(".range").forEach((host) => drawRange(host, data.findings[Number(host.dataset.finding)]));
}

const curves = buildCurves(document.querySelector("#curves .panels"));
const ends = buildEnds(document.querySelector("#ends .panels"));
const relight = buildSettings(byId("settings"));

function drawLayer() {
  document.querySelectorAll("#spectra-title bdi, #phases-title bdi").forEach((node) => { node.textContent = data.layers[chosen.layer]; });
  drawSpectra(byId("spectra-table"), byId("spectra-note"), chosen.layer, chosen.seed);
  drawPhases(byId("phase-table"), chosen.layer);
  phaseLegend(byId("phase-legend"), chosen.layer);
}

function drawAll() {
  curves();
  ends();
  if (data.layers.length) drawLayer();
  relight();
}

function followAddress() {
  const layer = data.layers.indexOf(addressed("layer"));
  chosen.layer = Math.max(0, layer);
  byId("layers").querySelectorAll("input").forEach((input, i) => { input.checked = i === chosen.layer; });
  drawAll();
}

const seeds = [...new Set(data.trials.map(({ seed }) => seed))].sort((a, b) => a - b);
[chosen.seed] = seeds;
const measures = ["accuracy", "loss"].filter((name) => `test_${name}` in data.columns.network || `train_${name}` in data.columns.network);
radios(byId("layers"), "layer", data.layers.map((name) => [name, name]), data.layers[0], (name) => {
  location.replace("#layer=" + encodeURIComponent(name));
});
radios(byId("measure"), "measure", measures.map((name) => [name, name]), "accuracy", (name) => {
  chosen.measure = name;
  curves();
  relight();
});
radios(byId("time"), "time", [["epoch", "epochs"], ["step", "steps"]], "epoch", (name) => {
  chosen.time = name;
  curves();
  relight();
});
radios(byId("seed"), "seed", (several ? seeds : seeds.slice(0, 1)).map((seed) => [seed, `seed ${seed}`]), seeds[0], (seed) => {
  chosen.seed = seed;
  drawLayer();
  relight();
});
for (const id of ["spectra", "phases"]) byId(id).hidden = !data.layers.length;
byId("capacity").hidden = data.capacity.rows.length < 2;
drawCapacity(byId("capacity-table"));
drawRanges();
followAddress();
addEventListener("hashchange", followAddress);
watchWidth(document.querySelector("#curves .panels"), () => {
  drawRanges();
  drawAll();
});
