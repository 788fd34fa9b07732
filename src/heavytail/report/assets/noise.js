/* The noise of one layer: its Marchenko-Pastur law and shuffled copies on the figures, and what they say in words. */

/* The density of the noise, over all of the layer's eigenvalues. Of each bulk come its edges and its count, and where
   it is not Marchenko and Pastur's law the counts in equal steps of the singular value. */
function lawOf(noise, count) {
  if (!noise?.laws) return null;
  const parts = noise.laws.map(([low, high, size, steps]) =>
    ({ low, high, steps, factor: ((2 / Math.PI) * (size / count)) / (Math.sqrt(high) - Math.sqrt(low)) ** 2 }));
  const stepped = (x, { low, high, steps }) => {
    const [from, width] = [Math.sqrt(low), (Math.sqrt(high) - Math.sqrt(low)) / steps.length];
    const place = (Math.sqrt(x) - from) / width - 0.5;
    const at = (i) => steps[Math.min(Math.max(i, 0), steps.length - 1)];
    const share = place - Math.floor(place);
    const number = at(Math.floor(place)) * (1 - share) + at(Math.floor(place) + 1) * share;
    return number / (2 * Math.sqrt(x) * width * count);
  };
  const of = (x, part) => {
    if (x <= part.low || x >= part.high) return 0;
    return part.steps ? stepped(x, part) : (part.factor * Math.sqrt(part.high - x) * Math.sqrt(x - part.low)) / x;
  };
  return {
    low: Math.min(...parts.map(({ low }) => low)), high: Math.max(...parts.map(({ high }) => high)),
    density: (x) => parts.reduce((sum, part) => sum + of(x, part), 0),
  };
}

/* Places from one end to the other, close together at the ends, where the law falls to zero. */
const between = (from, to, steps = 180) =>
  range(0, steps).map((i) => from + ((to - from) * (1 - Math.cos((Math.PI * i) / steps))) / 2);

function drawLaw({ plot, x, y }, points) {
  const path = points.map(([place, height], i) =>
    `${i ? "L" : "M"}${x(place).toFixed(1)},${y(Math.max(height, Number.MIN_VALUE)).toFixed(1)}`);
  plot.append(shape("path", { d: path.join(""), class: "law" }));
}

/* The outline of a histogram whose bins begin at `edge(i)`; where it is empty there is none. */
function drawOutline({ plot, x, y, bottom }, heights, edge) {
  const path = heights.map((height, i) => {
    const end = x(edge(i + 1)).toFixed(1);
    return height > 0 ? `V${Math.min(bottom, y(height)).toFixed(1)}H${end}` : `V${bottom}M${end},${bottom}`;
  });
  plot.append(shape("path", { d: `M${x(edge(0)).toFixed(1)},${bottom}${path.join("")}V${bottom}`, class: "shuffled" }));
}

function drawEdge({ plot, svg, x, top, bottom, right }, edge, line) {
  const place = x(edge);
  plot.append(shape("line", { x1: place, x2: place, y1: top, y2: bottom, class: "noise" }));
  const flip = place > right - 74;
  svg.append(shape("text", { x: place + (flip ? -5 : 5), y: top + 11 + 17 * line, class: "note",
    "text-anchor": flip ? "end" : "start" }, "noise edge"));
}

/* A tick under the axis for each spike. */
function drawSpikes({ svg, x, bottom }, spikes) {
  const path = spikes.map((spike) => `M${x(spike).toFixed(1)},${bottom + 0.5}v3.5`);
  svg.append(shape("path", { d: path.join(""), class: "spike" }));
}

function noiseKeys(noise) {
  return [
    ...(noise?.laws ? [["law", "noise"], ["noise", "its edge"]] : []),
    ...(noise?.spikes?.length ? [["spike", "spikes"]] : []),
    ...(noise?.shuffles ? [["shuffled", "shuffled"]] : []),
  ];
}

/* In words. */

const percent = (share) => `${significant(100 * share, 2)}\u202f%`;
const plural = (count, one, many = one + "s") => `${grouped(count)} ${count === 1 ? one : many}`;
const chance = (p) => (p !== null && p < 1e-15 ? "< 10⁻¹⁵" : significant(p));
const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

/* What noise explains: the finding, and where it does not quite hold. */
function verdict({ reason, laws, misfit, fits }, spikes) {
  if (!laws) return [reason ? `${capital(reason)}.` : "No noise bulk."];
  const shape = fits ? [] : [`The bulk's shape is not quite that of noise: up to ${percent(misfit[0])} of its ` +
    `eigenvalues are out of place, where noise stays under ${percent(misfit[1])}.`];
  if (spikes) return [`Noise bulk with ${plural(spikes, "spike")} beyond its edge.`, ...shape];
  return fits ? ["Noise explains all of it: nothing was learned here that the spectrum shows."]
    : ["Noise bulk without spikes.", ...shape];
}

function trapText([kind, matrix, row, column, excess], pooled) {
  const place = kind === "entry" ? `(${row}, ${column})` : kind === "row" ? row : column;
  const times = excess < 100 ? excess.toFixed(1) : significant(excess);
  return `${pooled ? `matrix ${matrix}: ` : ""}${kind} ${place}, ${times}\u202f× its threshold`;
}

function trapList({ shuffles }, get) {
  if (!shuffles) return [];
  const [found, listed] = [get("num_traps"), shuffles.traps];
  const said = found === null ? "Traps cannot be counted: the shuffled copies have no noise bulk."
    : found === 1 ? "1 trap: a single entry, row or column that makes an eigenvalue of its own."
    : found > 1 ? `${grouped(found)} traps: single entries, rows or columns that make eigenvalues of their own.` : null;
  const items = listed.map((trap) => make("li", {}, trapText(trap, get("num_matrices") > 1)));
  const where = listed.length ? "Parts beyond their threshold, the largest first. " +
    "Rows are numbered from 0 along the larger dimension N, columns along the smaller M." : null;
  return [said && make("p", {}, said), items.length ? make("ol", { class: "traps" }, ...items) : null,
    where && make("p", { class: "caption" }, where)].filter(Boolean);
}

/* The numbers: [name, value, what it means], after the columns of the table. */
function noiseNumbers(noise, get, level) {
  const pooled = get("num_matrices") > 1;
  const numbers = [];
  if (noise.laws) {
    const [sigma, low, high] = noise.sigma.map((number) => significant(number, 4));
    const [least, most] = noise.threshold.map((number) => significant(number, 4));
    numbers.push(
      ["σ", sigma, `${pooled ? "From" : "95 % interval"} ${low} to ${high}${pooled ? " over the matrices" : ""}. ` +
        "Standard deviation of the noise's entries."],
      ["spikes from", least, `${least === most ? "" : `To ${most} over the matrices. `}An eigenvalue beyond it is a spike: ` +
        `noise exceeds it in ${percent(level)} of layers.`],
      ["p of the largest", chance(noise.p_value), "Chance that noise alone has an eigenvalue like the largest here."],
      ["misfit", percent(noise.misfit[0]), `Greatest share of the bulk's eigenvalues out of place${pooled ?
        ", of all matrices" : ""}; 99 of 100 bulks of noise stay under ${percent(noise.misfit[1])}.`],
      ["kurtosis", significant(noise.kurtosis, 2), "Excess kurtosis of the noise's entries, 0 for Gaussian ones."]);
    if (noise.spread.some((value) => value > 0)) {
      numbers.push(["unequal", noise.spread.map(percent).join(", "), "Rows, columns differ in mean square by so much " +
        "(coefficient of variation); the law of the noise allows for it."]);
    }
  }
  const [ratio, error] = noise.spacing;
  if (ratio !== null) {
    numbers.push(["spacing ratio", ratio.toFixed(3), `± ${significant(error, 2)} (standard error). Neighbouring spacings, ` +
      "smaller over larger: 0.531 where eigenvalues repel as in random matrices, 0.386 where they are independent."]);
  }
  if (noise.shuffles) {
    const { count, p_edge: edge, p_largest: largest } = noise.shuffles;
    if (edge !== null) numbers.push(["p of the shuffled", chance(edge),
      "Chance that noise has an eigenvalue like the largest of the median shuffled copy."]);
    numbers.push(["p against shuffled", significant(largest), "Share whose largest eigenvalue is at least the " +
      `layer's, of ${plural(count, "shuffled copy", "shuffled copies")} and the layer itself.`]);
  }
  return numbers;
}

/* The interval of the distance to the shuffled copies, and what it is between two copies. */
function distanceNote({ shuffles }) {
  if (!shuffles) return "";
  const [, low, high, none] = shuffles.distance.map((number) => number?.toFixed(3));
  if (low === undefined) return "One copy. ";
  return `95 % interval ${low} to ${high} over ${shuffles.count} copies; ${none} between two copies. `;
}

/* Localisation: a line a part, under each measure its mean and how far that lies from random directions. */

const MEASURED = {
  localisation_ratio: ["localisation", "Sum of the components' magnitudes over the largest of them"],
  participation_ratio: ["participation", "Euclidean norm over the 4-norm"],
  entropy: ["entropy", "Shannon entropy of the squared components over log n"],
};

function vectorTable(sides, measures) {
  const number = (text, far = false) => make("td", { class: far ? "number far" : "number" }, text);
  const three = (value) =>
    number(value === null ? "–" : Math.abs(value) < 100 ? value.toPrecision(3) : significant(value));
  const z = (value) => number(value === null ? "–" : signed(value.toFixed(Math.abs(value) < 100 ? 1 : 0)), value < -3);
  const line = (title, count, cells) => make("tr", {}, make("th", { scope: "row" }, title), number(count), ...cells);
  const head = (text, tip = null) =>
    make("th", { scope: "col", class: "number" }, make("span", { "data-tip": tip, tabindex: tip && 0 }, text));
  const body = Object.entries(sides).flatMap(([side, { haar, parts }]) => [
    ...Object.entries(parts).map(([part, found]) => line(`${side}, ${part}`, grouped(found.count),
      measures.flatMap((measure) => [three(found[measure][0]), z(found[measure][1])]))),
    line(`${side}, random`, "", measures.flatMap((measure) => [three(haar[measure]), number("")])),
  ]);
  const heads = measures.flatMap((measure) => [head(...MEASURED[measure]), head("z")]);
  return make("div", { class: "wide" }, make("table", { class: "vectors" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "vectors"), head("count"), ...heads)),
    make("tbody", {}, ...body)));
}

/* The section of the panel. */
function noiseSection(noise, vectors, get, { columns, definitions, measures, level, entry }) {
  const known = columns.filter((column) => get(column) !== null);
  const listed = known.map((column) => entry(column, show(column, get(column)),
    (column === "rand_distance" ? distanceNote(noise) : "") + definitions[column]));
  const numbers = noiseNumbers(noise, get, level).map((number) => entry(...number));
  const table = vectors ? [make("p", { class: "caption" }, "Singular vectors against random directions; z in " +
    "standard errors, negative where they are localised."), vectorTable(vectors, measures)] : [];
  const [finding, ...rest] = verdict(noise, get("num_spikes"));
  const words = [make("p", {}, make("b", {}, finding)), ...rest.map((text) => make("p", {}, text))];
  return [make("h3", {}, "noise"), make("div", { class: "verdict" }, ...words, ...trapList(noise, get)),
    make("dl", {}, ...listed, ...numbers), ...table];
}
