/* The panel of one layer: its change, the spectra of both models, how their leading directions lie, all metrics. */

const wholeScale = (...ends) => {
  const scale = linearScale(...ends);
  const { ticks } = scale;
  scale.ticks = (count) => ticks(count).filter(({ value }) => Number.isInteger(value));
  return scale;
};

/* Spectra of both models over each other; of an unchanged layer there is one. */

function drawDensities(host, spectra) {
  const known = spectra.filter(Boolean);
  const ends = known.flatMap(({ range: limits }) => limits).map((power) => 10 ** power);
  const positive = known.flatMap(({ density }) => density).filter((height) => height > 0);
  const chart = frame(host, {
    height: 230, xLabel: "eigenvalue λ", yLabel: "density ρ(λ)", title: "Spectral densities of both models",
    x: { scale: logScale, domain: wider([Math.min(...ends), Math.max(...ends)], 1.12) },
    y: { scale: logScale, domain: wider([Math.min(...positive), Math.max(...positive)], 2) },
  });
  const [base, tuned] = spectra;
  if (base) {
    const edge = binEdge(base.range, base.density.length);
    const path = base.density.map((height, i) => (height ? `M${chart.x(edge(i)).toFixed(1)},${chart.bottom}` +
      `V${chart.y(height).toFixed(1)}H${chart.x(edge(i + 1)).toFixed(1)}V${chart.bottom}` : ""));
    chart.plot.append(shape("path", { d: path.join(""), class: "bulk" }));
  }
  if (tuned) {
    drawOutline(chart, tuned.density, binEdge(tuned.range, tuned.density.length));
    chart.plot.lastChild.setAttribute("class", "after");
  }
}

/* The tail distribution begins where a tenth of the eigenvalues is left out. */
const upper = ({ x, rank, count }) => x[Math.max(0, rank.filter((number) => number <= 0.9 * count).length - 1)];

function drawRanks(host, spectra) {
  const known = spectra.filter(Boolean);
  const all = known.flatMap(({ x }) => x);
  const chart = frame(host, {
    height: 230, xLabel: "eigenvalue λ", yLabel: "share of eigenvalues ≥ λ", title: "Tail distributions of both models",
    x: { scale: logScale, domain: wider([Math.min(...known.map(upper)), Math.max(...all)], 1.12) },
    y: { scale: logScale, domain: [Math.min(...known.map(({ rank, count }) => rank[0] / count)) / 1.6, 1.3] },
  });
  spectra.forEach((one, i) => {
    if (!one) return;
    const points = one.x.map((x, j) => `${chart.x(x).toFixed(1)},${chart.y(one.rank[j] / one.count).toFixed(1)}`);
    chart.plot.append(shape("path", { d: `M${points.join("L")}`, class: `ranks ${i ? "second" : "first"}` }));
  });
}

function bothFigures(spectra) {
  const two = spectra.length > 1;
  const [density, densityHost] = figure("Spectral density",
    legend(["bulk", two ? "base" : "both"], ...(two ? [["after", "tuned"]] : [])));
  const [ranks, ranksHost] = figure("Tail distribution (CCDF)",
    legend(["ranks first", two ? "base" : "both"], ...(two ? [["ranks second", "tuned"]] : [])));
  const draw = () => {
    drawDensities(densityHost, spectra);
    drawRanks(ranksHost, spectra);
  };
  return { nodes: [density, ranks], draw };
}

/* A change of few directions: its singular values one by one. */
function drawSingular(host, { x, count, below }) {
  const values = x.slice(0, count - below).map(Math.sqrt);
  const chart = frame(host, {
    height: 210, xLabel: "direction", yLabel: "singular value √λ", title: "Singular values of the change",
    x: { scale: wholeScale, domain: [0.4, values.length + 0.6] }, y: { scale: linearScale, domain: [0, values[0] * 1.06] },
  });
  values.forEach((value, i) => {
    const place = chart.x(i + 1);
    chart.plot.append(shape("line", { x1: place, x2: place, y1: chart.bottom, y2: chart.y(value), class: "stem" }));
    chart.svg.append(mark(3, 4, { ...at({ x: place, y: chart.y(value) }),
      "data-tip": `direction ${i + 1}\nsingular value ${significant(value, 4)}` }));
  });
}

/* Leading directions: the angles between both subspaces, and where the tuned ones are found in the base. */

const directionFrame = (host, k, yLabel, title) => frame(host, {
  height: 190, xLabel: "direction", yLabel, title, x: { scale: wholeScale, domain: [0.4, k + 0.6] },
  y: { scale: linearScale, domain: [0, 1.04] }, margin: { top: 26, right: 8, bottom: 34, left: 34 },
});

const SIDES = ["narrow side (M)", "wide side (N)"];

const beside = (i, side) => i + 1 + (side ? 0.14 : -0.14);

function drawCosines(host, { k, narrow, wide }) {
  const chart = directionFrame(host, k, "cosine", "Cosines of the principal angles");
  [narrow, wide].forEach((cosines, side) => cosines.forEach((cosine, i) => {
    const degrees = (Math.acos(Math.min(1, cosine)) * 180) / Math.PI;
    chart.svg.append(mark(side, 3.4, { ...at({ x: chart.x(beside(i, side)), y: chart.y(cosine) }),
      "data-tip": `principal angle ${i + 1}, ${SIDES[side]}\ncosine ${significant(cosine, 4)}, ${significant(degrees, 2)}°` }));
  }));
}

function drawNearest(host, { lo, hi, cutoff }) {
  const chart = directionFrame(host, lo[0].length, "largest |cosine|", "Nearest direction of the base to each of the tuned matrix");
  chart.plot.append(shape("line", { x1: chart.left, x2: chart.right, y1: chart.y(cutoff), y2: chart.y(cutoff), class: "cutoff" }));
  lo.forEach((lows, side) => lows.forEach((low, i) => {
    const high = hi[side][i];
    const intruder = high < cutoff;
    const place = chart.x(beside(i, side));
    const found = low === high ? significant(low) : `${significant(low)} to ${significant(high)}`;
    const verdict = intruder ? "an intruder" : low < cutoff ? "undecided" : "known to the base";
    const tip = { "data-tip": `direction ${i + 1}, ${SIDES[side]}, ${verdict}\nlargest |cosine| with a direction of the base: ${found}` };
    const hue = intruder ? "intruder" : "hue0";
    if (high - low > 0.002) {
      chart.svg.append(shape("line", { x1: place, x2: place, y1: chart.y(low), y2: chart.y(high), class: `enclosure ${hue}`, ...tip }));
    }
    chart.svg.append(mark(intruder ? 3 : side, intruder ? 4.2 : 3.4, { ...at({ x: place, y: chart.y((low + high) / 2) }), class: hue, ...tip }));
  }));
}

const markKey = (form, text, hue = "") => make("span", {},
  shape("svg", { viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" }, mark(form, 3.6, { class: hue })), text);

function directionFigures(found) {
  const small = (title, draw, ...keys) => {
    const host = make("div", { class: "chart" });
    return [make("figure", {}, make("figcaption", {}, make("b", {}, title), make("span", { class: "keys" }, ...keys)), host),
      () => draw(host, found)];
  };
  const intruders = found.intruders ? [markKey(3, "intruder", "intruder")] : [];
  const sides = () => [markKey(0, "narrow side"), markKey(1, "wide side")];
  const [cosines, drawFirst] = small("Principal angles", drawCosines, ...sides());
  const [nearest, drawSecond] = small("Nearest in the base", drawNearest, ...sides(), ...intruders,
    make("span", {}, make("i", { class: "key cut" }), "cutoff"));
  const of = found.matrices > 1 ? `Of ${grouped(found.matrices)} matrices, this is number ${found.matrix}, counted from 0: ` +
    "the one whose directions turned most. " : "";
  const text = `${of}Principal angles are those between the leading ${found.k} directions of both models; their cosines ` +
    "are 1 where these agree. Nearest is, for each leading direction of the tuned matrix, the largest cosine with any " +
    `direction of the base; where it is below ${significant(found.cutoff)} on either side, the direction is an intruder.`;
  return { nodes: [make("div", { class: "pair" }, cosines, nearest), make("p", { class: "caption" }, text)],
    draw: () => { drawFirst(); drawSecond(); } };
}

const FEW = 24;

function compareSections() {
  const { groups } = data;

  const isExact = (metric, changed) => data.computed.includes(metric) || changed === 0;

  const arrow = (before, after) => (before && after && before !== after ? `${before} → ${after}` : before || after);

  function headline(row) {
    const get = (column) => value(column, row);
    const [dtypes, phases] = ["dtype", "phase"].map((what) => arrow(get(`base_${what}`), get(`tuned_${what}`)));
    const other = get("tuned_name") ? [make("p", { class: "facts" }, "in the tuned model ", make("bdi", {}, get("tuned_name")))] : [];
    return [layerTitle(get), ...other, layerFacts(get, get("kind"), sizeOf(get), dtypes, phases), ...moved(row)];
  }

  function moved(row) {
    const [size, kind] = [value("relative_change", row), value("change", row)];
    if (size === null && !kind) return [];
    const said = kind ? make("small", {}, changeIcon(kind), ` ${kind === "none" ? "unchanged" : kind}: ${data.kinds[kind]}`) : null;
    return [make("p", { class: "moved" }, "‖Δ‖ / ‖W‖ = ", show("relative_change", size), said)];
  }

  function change(row, onDraw) {
    if (value("status", row) !== "ok") return [];
    const found = data.curves[row];
    const numbers = entries([...groups.change.slice(1), ...groups["spectrum of the change"]], row);
    if (!found) return numbers.length ? [make("h3", {}, "the change"), ...numbers] : [];
    const below = found.below ? [make("p", { class: "caption" }, `${grouped(found.below)} of ${grouped(found.count)} eigenvalues ` +
      "are no more than the rounding of the numbers makes, and are left out.")] : [];
    if (found.count - found.below <= FEW) {
      const [node, chart] = figure("Singular values", null);
      onDraw(() => drawSingular(chart, found));
      return [make("h3", {}, "the change Δ"), node, ...below, ...numbers];
    }
    const fit = data.fits[row];
    const { nodes, draw } = spectrumFigures(found, data.noise[row], null, (column) => fit?.[column] ?? null);
    onDraw(draw);
    const misfit = data.noise[row]?.laws ? verdict(data.noise[row], 1).slice(1) : [];
    return [make("h3", {}, "the change Δ"), ...misfit.map((text) => make("p", {}, text)), nodes[0], nodes[2], nodes[1],
      ...below, ...numbers];
  }

  function both(row, onDraw) {
    if (!data.spectra[row]?.some((one) => one?.x.length > 2)) return [];
    const { nodes, draw } = bothFigures(data.spectra[row]);
    onDraw(draw);
    return [make("h3", {}, "both models"), ...nodes];
  }

  function directions(row, onDraw) {
    const found = data.directions[row];
    if (!found) return [];
    const { nodes, draw } = directionFigures(found);
    onDraw(draw);
    return [make("h3", {}, "leading directions"), ...nodes, ...entries(groups.directions, row)];
  }

  function metrics(row) {
    const known = data.metrics.filter((metric) => value(`${metric}_base`, row) !== null || value(`${metric}_tuned`, row) !== null);
    if (!known.length) return [];
    const number = (text, more = "") => make("td", { class: `number ${more}` }, text);
    const lines = known.map((metric) => {
      const [base, tuned, changed, low, high] = ["base", "tuned", "change", "change_lo", "change_hi"]
        .map((what) => value(`${metric}_${what}`, row));
      const estimated = low !== null && low < high;
      const sure = estimated && (low > 0 || high < 0);
      return make("tr", {}, make("th", { scope: "row" }, make("span", { "data-tip": data.meanings[metric], tabindex: 0 }, metric)),
        number(show(`${metric}_base`, base)), number(show(`${metric}_tuned`, tuned)),
        number(show(`${metric}_change`, changed), sure ? "far" : ""),
        estimated ? number(`${significant(low)} to ${significant(high)}`) : number(isExact(metric, changed) ? "exact" : "–", "none"));
    });
    const head = ["metric", "base", "tuned", "change", "95\u202f% interval"].map((text, i) =>
      make("th", { scope: "col", class: i ? "number" : null }, text));
    return [make("h3", {}, "metrics"), make("div", { class: "wide metrics" }, make("table", {},
      make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines)))];
  }

  return [headline, (row) => remarks(row, value("reason", row)), change, both, directions, metrics];
}
