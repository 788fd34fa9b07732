/* Spectra and phases along training: a row a setting, a column a look. */

const MOST_ROWS = 10;
const CELL = { width: 108, height: 50 };

/* At most so many items of a list, evenly, the first and the last among them. */
const evenly = (items, most) => (items.length <= most ? items
  : range(0, most - 1).map((k) => items[Math.round((k * (items.length - 1)) / (most - 1))]));

const rowHead = (setting, label) => make("th", { scope: "row" }, paint(make("i", { class: "swatch" }), setting), label);
const columnHeads = (heads) => make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text))));

const trialsOf = (setting) => data.trials.filter((trial) => trial.setting === setting);

function drawSpectrum({ bulk, spikes, edge }, [low, high], most) {
  const { width, height } = CELL;
  const step = width / bulk.length;
  const tall = (count) => (Math.log1p(count) / Math.log1p(most)) * (height - 3);
  const bar = (k, foot, count) => `M${(k * step + 0.3).toFixed(1)},${(height - foot).toFixed(1)}v${(-count).toFixed(1)}h${(step - 0.6).toFixed(1)}v${count.toFixed(1)}z`;
  const bars = bulk.map((count, k) => (count ? bar(k, 0, tall(count)) : "")).join("");
  const above = spikes.map(([k, count]) => bar(k, tall(bulk[k]), tall(bulk[k] + count) - tall(bulk[k]))).join("");
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    shape("path", { d: bars, class: "bulk" }), shape("path", { d: above, class: "tail" }));
  if (edge !== null && edge > low && edge < high) {
    const place = ((edge - low) / (high - low)) * width;
    svg.append(shape("line", { x1: place, x2: place, y1: 0, y2: height, class: "noise" }));
  }
  return svg;
}

/* The word of a phase with its dot. */
const phaseWord = (phase) => (phase ? phasePill(data.meanings, phase, null) : make("span", { class: "phase" }, "no phase"));

function spectrumCell(trial, layer, spectrum, most, shared) {
  const { look } = spectrum;
  const found = trial.layers[layer];
  const at = (name) => found.columns[name]?.[look] ?? null;
  const [phase, share] = [found.phase[look], found.probability[look]];
  const count = [...spectrum.bulk, ...spectrum.spikes.map(([, held]) => held)].reduce((a, b) => a + b, 0) + spectrum.below;
  const said = [`${told(trial.setting)}seed ${trial.seed}, epoch ${found.epoch[look]}`,
    `${phase || "no phase"}${known(share) && phase ? `, ${sure(share)}` : ""}`,
    `MP soft rank ${number(at("mp_softrank"))}, α ${number(at("alpha"))}, spikes ${number(at("num_spikes"))}`,
    `${plural(count, "eigenvalue")} up to ${number(spectrum.largest)}` +
      `${spectrum.below ? `, ${grouped(spectrum.below)} too small to be drawn` : ""}`];
  return make("td", { class: "cell", tabindex: -1, "data-tip": said.join("\n") },
    shared ? null : make("small", {}, `epoch ${found.epoch[look]}`),
    drawSpectrum(spectrum, data.ranges[layer], most), phaseWord(phase));
}

/* The powers of ten under a column. */
function decades([low, high]) {
  const powers = range(Math.ceil(low), Math.floor(high));
  const step = Math.ceil(powers.length / 4);
  const place = (power) => (100 * (power - low)) / (high - low);
  const fits = (power) => power % step === 0 && place(power) > 7 && place(power) < 93;
  return make("td", { class: "decades" }, ...powers.filter(fits).map((power) => {
    const node = make("span", {}, Math.abs(power) < 3 ? significant(10 ** power) : "10" + superscript(power));
    node.style.left = `${place(power)}%`;
    return node;
  }));
}

/* The rows of the small multiples: the settings, of one seed, or the seeds of the only setting. */
function spectrumRows(seed) {
  if (!several) return data.trials.map((trial) => ({ setting: 0, trial, label: `seed ${trial.seed}` }));
  return range(0, data.settings.length - 1).map((setting) =>
    ({ setting, trial: trialsOf(setting).find((trial) => trial.seed === seed), label: data.settings[setting].label }));
}

/* Small multiples of one layer; a setting whose training is not finished has an empty row. */
function drawSpectra(host, note, layer, seed) {
  const every = spectrumRows(seed);
  const rows = evenly(every, MOST_ROWS);
  const shown = rows.flatMap(({ trial }) => trial?.layers[layer].spectra ?? []);
  const most = Math.max(1, ...shown.flatMap(({ bulk }) => bulk));
  const epochsOf = (trial) => trial.layers[layer].spectra.map(({ look }) => trial.layers[layer].epoch[look]);
  const drawn = rows.filter(({ trial }) => trial?.layers[layer].spectra.length);
  const timelines = new Set(drawn.map(({ trial }) => epochsOf(trial).join()));
  const shared = timelines.size === 1;
  const columns = Math.max(0, ...rows.map(({ trial }) => trial?.layers[layer].spectra.length ?? 0));
  const heads = range(0, columns - 1).map((k) =>
    (shared ? `epoch ${[...timelines][0].split(",")[k]}` : `look ${k + 1}`));
  const body = rows.map(({ setting, trial, label }) => paint(make("tr", {}, rowHead(setting, label),
    ...(trial?.layers[layer].spectra.length ? trial.layers[layer].spectra.map((one) => spectrumCell(trial, layer, one, most, shared))
      : [make("td", { colspan: columns || 1, class: "calm" }, trial ? "not followed" : "not finished")])), setting));
  const foot = make("tr", { "aria-hidden": "true" }, make("th", { class: "math" }, "λ"), ...heads.map(() => decades(data.ranges[layer])));
  host.replaceChildren(make("table", {}, columnHeads([several ? data.axis : "", ...heads]), make("tbody", {}, ...body, foot)));
  const cells = [...host.querySelectorAll(".cell")];
  cells[0]?.setAttribute("tabindex", 0);
  watchArrows(cells);
  const fewer = rows.length < every.length ? `${rows.length} of ${every.length} rows are shown. ` : "";
  note.textContent = `${fewer}Both axes are logarithmic and the same in all: across the eigenvalue λ, upwards one and the number of ` +
    "eigenvalues in a bin. The edge is that of the noise's Marchenko–Pastur law.";
}

/* Phases of one layer: of each setting a row with a stripe a seed, and under it the words, each along its looks. */
function drawPhases(host, layer) {
  const epochs = [...new Set(data.trials.flatMap((trial) => trial.layers[layer].epoch))].sort((a, b) => a - b);
  const rows = range(0, data.settings.length - 1).flatMap((setting) => {
    const looks = epochs.map((epoch) => phasesAt(setting, layer, epoch));
    if (!looks.some((found) => found.length)) return [];
    const head = fill(rowHead(setting, data.settings[setting].label), { rowspan: 2 }, []);
    const stripes = looks.map((found, i) => phaseCell(found, `${told(setting)}epoch ${epochs[i]}`));
    return [make("tr", { class: "stripe" }, head, ...stripes), make("tr", { class: "word" }, ...wordCells(looks.map(mostOf)))]
      .map((row) => paint(row, setting));
  });
  const heads = [several ? data.axis : "", ...epochs.map((epoch, i) => (i ? String(epoch) : `epoch ${epoch}`))];
  host.replaceChildren(make("table", {}, columnHeads(heads), make("tbody", {}, ...rows)));
}

/* The phases of the seeds of a setting at an epoch. */
function phasesAt(setting, layer, epoch) {
  return trialsOf(setting).map(({ seed, layers }) => {
    const found = layers[layer];
    const look = found.epoch.indexOf(epoch);
    return { seed, phase: found.phase[look], share: found.probability[look] };
  }).filter(({ phase }) => phase);
}

/* The phase of most seeds, of the first where they are even. */
function mostOf(found) {
  const counts = new Map();
  found.forEach(({ phase }) => counts.set(phase, (counts.get(phase) ?? 0) + 1));
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? "";
}

function phaseCell(found, place) {
  if (!found.length) return make("td", { class: "cell" });
  const said = found.map(({ seed, phase, share }) => `seed ${seed}: ${phase}${known(share) ? `, ${sure(share)}` : ""}`);
  return make("td", { class: "cell", "data-tip": [place, ...said].join("\n") },
    make("div", { class: "stripes" }, ...found.map(({ phase }) => make("i", { class: phaseClass(data.meanings, phase) }))));
}

/* Each word once, under all the looks that it stands for. */
function wordCells(words) {
  const starts = words.flatMap((word, i) => (i && word === words[i - 1] ? [] : [i]));
  return starts.map((start, k) => make("td", { colspan: (starts[k + 1] ?? words.length) - start, title: words[start] }, words[start]));
}

function phaseLegend(host, layer) {
  const seen = new Set(data.trials.flatMap((trial) => trial.layers[layer].phase));
  host.replaceChildren(...phaseOrder(data.meanings).filter((phase) => seen.has(phase)).map((phase) => {
    const pill = phasePill(data.meanings, phase, null);
    fill(pill, { "data-tip": `${capital(data.meanings[phase])}.`, tabindex: 0 }, []);
    return pill;
  }));
}
