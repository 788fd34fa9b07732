/* The tail of one layer: how its exponent depends on where it starts and on its largest eigenvalues, and its rivals. */

const SHORT = { "truncated power law": "truncated", "stretched exponential": "stretched" };
const GREEK = { alpha: "α", mu: "μ", sigma: "σ" };

/* The rival laws on the CCDF, each switched on and off by a button that is its key. */
function rivalChoice(tail, onChange) {
  const rivals = (tail?.laws || []).filter(([, , , , curve]) => curve)
    .map(([name, , , , curve], i) => ({ name, curve, hue: `rival${i}` }));
  if (!rivals.length) return { node: null, shown: () => [] };
  const off = new Set();
  const buttons = rivals.map((rival) => {
    const button = make("button", { type: "button", "aria-pressed": true },
      make("i", { class: `key rival ${rival.hue}` }), SHORT[rival.name] || rival.name);
    button.addEventListener("click", () => {
      if (!off.delete(rival)) off.add(rival);
      button.setAttribute("aria-pressed", !off.has(rival));
      onChange();
    });
    return button;
  });
  const node = make("span", { class: "chips", role: "group", "aria-label": "Other laws" }, ...buttons);
  return { node, shown: () => rivals.filter((rival) => !off.has(rival)) };
}

/* A law is told as the logarithm of its share of the tail at equal steps of the logarithm of the eigenvalue. */
function drawRival({ plot, x, y }, { xmin, xmax, share }, { curve, hue }) {
  const place = (i) => xmin * (xmax / xmin) ** (i / (curve.length - 1));
  const path = curve.map((power, i) =>
    `${i ? "L" : "M"}${x(place(i)).toFixed(1)},${y(share * 10 ** power).toFixed(1)}`);
  plot.append(shape("path", { d: path.join(""), class: `rival ${hue}` }));
}

/* In words. */

/* How heavy the tail is against noise; a reason where that is not known. */
function scoreWords({ score }, get) {
  if (typeof score === "string") return make("p", { class: "caption" }, `${capital(score)}.`);
  const [excess, units] = ["tail_excess", "tail_score"].map((column) => show(column, get(column)));
  const [low, high, p] = score;
  return make("p", {}, make("b", {}, p <= 0.05 ? "Heavier than noise" : "No heavier than noise"),
    ` of this shape: the mean log of the upper tenth of the eigenvalues, over the next one, is ${excess} times that of noise (95 % interval ` +
    `${low.toFixed(2)} to ${high.toFixed(2)}), ${units} standard deviations from it; p ${p < 1e-15 ? "" : "= "}${chance(p)}.`);
}

function verdictWords({ why, replicates, fits, rejected }, get) {
  const [law, p] = [get("tail"), get("p_value")];
  const found = law === "undecided" ? "Undecided" : `${/^[aeiou]/.test(law) ? "An" : "A"} ${law}`;
  const fit = !fits ? "does not pass, and alpha is a description at most"
    : rejected ? "passes its own test, but loses to a law that bends" : "passes";
  return [make("p", {}, make("b", {}, `${found}: `), `${why}.`),
    make("p", {}, `Goodness of fit: p = ${significant(p, 2)} from ${grouped(replicates)} samples of the fitted power law; ` +
      `it ${fit}.`)];
}

const withSigma = (value, error) => significant(value) + (error === null ? "" : ` ± ${significant(error, 2)}`);
const parametersText = (parameters) =>
  parameters.map(([name, ...numbers]) => `${GREEK[name] || name} ${withSigma(...numbers)}`).join(", ");

function smallTable(heads, lines, kind) {
  const cell = (text, i) => make("td", { class: heads[i + 1].number ? "number" : "text" }, text);
  return make("div", { class: "wide" }, make("table", { class: kind },
    make("thead", {}, make("tr", {}, ...heads.map(({ text, number, tip = null }) =>
      make("th", { scope: "col", class: number ? "number" : "text" },
        make("span", { "data-tip": tip, tabindex: tip && 0 }, text))))),
    make("tbody", {}, ...lines.map(([name, chosen, ...texts]) => make("tr", { class: chosen ? "chosen" : null },
      make("th", { scope: "row" }, name), ...texts.map(cell))))));
}

function lawTable({ laws }, get) {
  const heads = [{ text: "law" },
    { text: "Δ log L", number: true, tip: "Log-likelihood beyond that of the power law." },
    { text: "p", number: true, tip: "Chance of a difference as large if the power law holds; for the exponential, " +
      "which does not contain it, if both are equally far from the truth." },
    { text: "parameters", tip: "With standard errors. Slope: that of the stretched exponential at the start of the " +
      "tail, alpha − 1 of the power law that it begins as." }];
  const lines = laws.map(([name, parameters, gain, p, curve]) => [name, name === get("tail"),
    name === "power law" ? "" : (gain > 0 ? "+" : "") + signed(gain.toFixed(2)), p === null ? "" : chance(p),
    curve || name === "power law" ? parametersText(parameters) : "none better than the power law"]);
  return smallTable(heads, lines, "laws");
}

/* The power law from the starts that other rules give. */
function startTable({ starts }, get) {
  const heads = [{ text: "start by" }, ...["xmin", "eigenvalues", "α", "D"].map((text) => ({ text, number: true }))];
  const own = ["xmin", "num_pl_spikes", "alpha", "sigma", "D"].map(get);
  const line = ([name, xmin, n, alpha, sigma, D], i) =>
    [name, i === 0, significant(xmin), grouped(n), `${alpha.toFixed(2)} ± ${sigma.toFixed(2)}`, D.toFixed(3)];
  return smallTable(heads, [["least distance", ...own], ...starts].map(line), "starts");
}

function truncatedText([, n, [[, alpha, error], [, rate]]]) {
  const end = rate > 0 ? `cut off at λ ≈ ${significant(1 / rate, 2)}` : "not cut off";
  return `Truncated power law from the density's peak (E-TPL): α ${withSigma(alpha, error)}, ${end}, ` +
    `${grouped(n)} eigenvalues.`;
}

/* Figures. */

/* Alpha and its distance for tails of other sizes. */
function drawStability(hosts, { n, alpha, D, good }, get) {
  const [own, low, high, tail, distance] = ["alpha", "alpha_lo", "alpha_hi", "num_pl_spikes", "D"].map(get);
  const error = n.map((size, i) => (alpha[i] - 1) / Math.sqrt(size));
  const most = Math.max(high, own, ...alpha.filter((_, i) => good[i]));
  const x = { scale: logScale, domain: wider([n[n.length - 1], n[0]], 1.06) };
  const reach = [Math.min(low, ...alpha) - 0.2, Math.min(1.25 * most, Math.max(most, ...alpha)) + 0.3];
  const upper = frame(hosts[0], { height: 170, x, y: { scale: linearScale, domain: reach }, xLabel: "", yLabel: "α",
    title: "Alpha against the size of the tail", margin: { top: 26, right: 12, bottom: 20, left: 52 } });
  const lower = frame(hosts[1], { height: 166, x, xLabel: "eigenvalues in the tail", yLabel: "D",
    title: "Distance from the power law against the size of the tail",
    y: { scale: logScale, domain: wider([Math.min(distance, ...D), Math.max(...D)], 1.15) } });
  upper.plot.append(shape("rect", { x: upper.left, width: upper.right - upper.left, y: upper.y(high),
    height: upper.y(low) - upper.y(high), class: "fan" }));
  for (const { plot, x: toX, top, bottom } of [upper, lower]) {
    plot.append(shape("line", { x1: toX(tail), x2: toX(tail), y1: top, y2: bottom, class: "xmin" }));
  }
  n.forEach((size, i) => {
    const [place, kind] = [upper.x(size).toFixed(1), good[i] ? "tail" : "bulk"];
    upper.plot.append(shape("line", { x1: place, x2: place, y1: upper.y(alpha[i] - error[i]).toFixed(1),
      y2: upper.y(alpha[i] + error[i]).toFixed(1), class: `whisker ${kind}` }));
    for (const [chart, height] of [[upper, alpha[i]], [lower, D[i]]]) {
      chart.plot.append(shape("circle", { cx: place, cy: chart.y(height).toFixed(1), r: 2.4, class: `dot ${kind}`,
        "data-tip": `${grouped(size)} eigenvalues: α ${significant(alpha[i])}, D ${significant(D[i], 2)}` }));
    }
  });
  upper.plot.append(shape("circle", { cx: upper.x(tail), cy: upper.y(own), r: 5, class: "ring" }));
  lower.plot.append(shape("circle", { cx: lower.x(tail), cy: lower.y(distance), r: 5, class: "ring" }));
}

/* Alpha without the largest eigenvalues. */
function drawFingers(host, alphas) {
  const known = alphas.map((alpha, k) => [k, alpha]).filter(([, alpha]) => alpha !== null);
  const values = known.map(([, alpha]) => alpha);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const chart = frame(host, { height: 140, xLabel: "largest eigenvalues left out", yLabel: "α",
    title: "Alpha without the largest eigenvalues", x: { scale: linearScale, domain: [-0.5, alphas.length - 0.5] },
    y: { scale: linearScale, domain: [least - 0.3, most + 0.3 + 0.35 * (most - least)] } });
  const decimals = chart.x(1) - chart.x(0) < 34 || most >= 100 ? 1 : 2;
  const place = ([k, alpha]) => `${chart.x(k).toFixed(1)},${chart.y(alpha).toFixed(1)}`;
  chart.plot.append(shape("path", { d: `M${known.map(place).join("L")}`, class: "path" }));
  for (const [k, alpha] of known) {
    const at = [chart.x(k).toFixed(1), chart.y(alpha)];
    chart.plot.append(shape("circle", { cx: at[0], cy: at[1].toFixed(1), r: 2.6, class: "dot tail" }));
    chart.svg.append(shape("text", { x: at[0], y: (at[1] - 7).toFixed(1), "text-anchor": "middle", class: "value" },
      alpha.toFixed(decimals)));
  }
}

function fingerWords({ count, alphas }) {
  if (!count) {
    const known = alphas.filter((alpha) => alpha !== null);
    const [least, most] = [Math.min(...known), Math.max(...known)].map((alpha) => show("alpha", alpha));
    return `Without up to ${alphas.length - 1} of the largest eigenvalues α lies between ${least} and ${most}: it ` +
      "never falls by more than 1.";
  }
  return `α falls from ${show("alpha", alphas[0])} to ${show("alpha", alphas[count])} without the ` +
    `${count === 1 ? "largest eigenvalue" : `${count} largest eigenvalues`}.`;
}

/* The section of the panel; call `draw` once it is in the document and again when its width changes. */
function tailSection(tail, get) {
  const nodes = [make("h3", {}, "tail")];
  nodes.push(make("div", { class: "evidence" }, scoreWords(tail, get), ...(tail.laws ? verdictWords(tail, get) : [])));
  if (tail.laws?.length) nodes.push(lawTable(tail, get));
  const [stability, upper] = figure("Stability of α", legend(["tail", "fits as well as the best"], ["bulk", "others"],
    ["fan", "interval"]));
  const lower = make("div", { class: "chart" });
  stability.append(lower, make("p", { class: "caption" }, "Every dot is a power law from another start, with its naive " +
    "standard error; the ringed one has the least distance D. An exponent that is a property of the layer stays level " +
    "over the starts that fit as well."));
  nodes.push(stability);
  const draws = [() => drawStability([upper, lower], tail.profile, get)];
  if (tail.fingers) {
    const [fingers, host] = figure("Without the largest eigenvalues", null);
    fingers.append(make("p", { class: "caption" }, fingerWords(tail.fingers)));
    nodes.push(fingers);
    draws.push(() => drawFingers(host, tail.fingers.alphas));
  }
  if (tail.starts?.length) nodes.push(startTable(tail, get));
  if (tail.e_tpl) nodes.push(make("p", { class: "caption" }, truncatedText(tail.e_tpl)));
  if (tail.farms) nodes.push(make("p", { class: "caption" }, "Hill exponent over windows of one aspect ratio (FARMS): " +
    `${show("alpha", tail.farms)}.`));
  return { nodes, draw: () => draws.forEach((draw) => draw()) };
}
