/* Phases of training: their colours, the strip along depth, and the section of the panel. A colour never stands alone:
   the word is beside it. */

/* The order of the phases, from noise to power laws, the collapse, and what is undecided. */
const phaseOrder = (meanings) => Object.keys(meanings);
const phaseClass = (meanings, phase) => `phase${phaseOrder(meanings).indexOf(phase)}`;

const phasePill = (meanings, phase, probability) => make("span", { class: `phase ${phaseClass(meanings, phase)}` },
  make("i", { class: "dot" }), `${phase} `,
  probability === null ? null : make("small", {}, show("phase_probability", probability)));

const sure = (share) =>
  (share > 0.99 ? "over 99\u202f%" : share < 0.01 ? "under 1\u202f%" : `${Math.round(100 * share)}\u202f%`);

/* Along depth: a lane a phase, in it a cell for each of its layers, as tall as the phase is likely. */

const LANE = 15;

function drawStrip(host, { rows, meanings, value, reason, matched, selected, open, left, margin }) {
  const known = new Set(rows.map((row) => value("phase", row)));
  const [undecided, ...others] = phaseOrder(meanings).reverse();
  const lanes = [...others, undecided].filter((phase) => known.has(phase));
  const [width, height] = [Math.max(260, host.clientWidth), lanes.length * LANE + 6];
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "strip",
    "aria-label": "Phase of each layer, in the order of the model" });
  const x = linearScale([0.5 - margin, rows.length + 0.5 + margin], [left, width - 12]);
  const foot = (phase) => (lanes.indexOf(phase) + 1) * LANE - 1;
  svg.append(...lanes.flatMap((phase) => [
    shape("line", { x1: left, x2: width - 12, y1: foot(phase) + 0.5, y2: foot(phase) + 0.5, class: "grid" }),
    shape("text", { x: left - 7, y: foot(phase) - 2, "text-anchor": "end" }, phase),
  ]));
  const step = x(2) - x(1);
  const gap = step > 6 ? 1.5 : step > 3 ? 0.6 : 0;
  rows.forEach((row, i) => {
    const phase = value("phase", row);
    if (!lanes.includes(phase)) return;
    const likely = value("phase_probability", row);
    const tall = Math.max(0.35, likely ?? 0.5) * (LANE - 3);
    const hue = phaseClass(meanings, phase) + (likely === null ? " hollow" : "") + (matched.has(row) ? "" : " faint");
    const inset = likely === null && step > 6 ? 0.5 : 0; // half of its outline
    svg.append(shape("rect", { x: (x(i + 0.5) + gap / 2 + inset).toFixed(2),
      width: Math.max(0.7, step - gap - 2 * inset).toFixed(2), y: (foot(phase) - tall + inset).toFixed(1),
      height: (tall - 2 * inset).toFixed(1), class: hue }));
  });
  followColumn(svg, rows, { x, height: height - 5, selected, open, label: (row) => stripLabel(row, value, reason(row)) });
  host.replaceChildren(svg);
}

/* Name the layer under the pointer, open it on a click, and keep a frame around the open one. */
function followColumn(svg, rows, { x, height, selected, open, label }) {
  const step = x(2) - x(1);
  const across = Math.max(3, step);
  const frame = shape("rect", { y: 0.5, height, width: across.toFixed(1), class: "column" });
  svg.append(frame);
  const point = (i) => fill(frame, { visibility: i < 0 ? "hidden" : "visible", x: (x(i + 1) - across / 2).toFixed(1) }, []);
  const rest = () => point(rows.indexOf(selected()));
  const leave = () => {
    svg.style.cursor = "";
    hideTip();
    rest();
  };
  const under = ({ clientX }) => {
    const i = Math.round((clientX - svg.getBoundingClientRect().left - x(1)) / step);
    return i < rows.length ? Math.max(-1, i) : -1;
  };
  svg.addEventListener("pointermove", (event) => {
    const i = under(event);
    if (i < 0) {
      leave();
      return;
    }
    point(i);
    svg.style.cursor = "pointer";
    const { left, top, bottom } = svg.getBoundingClientRect();
    showTip(label(rows[i]), { left: left + x(i + 1), right: left + x(i + 1), top, bottom });
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("click", (event) => {
    const i = under(event);
    if (i >= 0) open(rows[i]);
  });
  rest();
}

function stripLabel(row, value, why) {
  const [phase, share] = [value("phase", row), value("phase_probability", row)];
  const reason = value("reason", row) ? `: ${value("reason", row)}` : "";
  if (!phase) return `${value("name", row)}\nno phase${reason}`;
  if (share === null) return `${value("name", row)}\n${phase}${why ? `: ${why}` : ""}`;
  return `${value("name", row)}\n${phase}, ${phase === "undecided" ? "none above" : "probability"} ${sure(share)}`;
}

/* In words. */

const ALIKE = "more alike than noise's, nearer to each other than those of a random matrix";

/* Why there are no probabilities, or why some of the matrices have no part in them. */
function narrowWords({ probabilities, matrices, narrow, reason }) {
  if (!narrow) return reason ? `${capital(reason)}.` : "";
  const these = `${grouped(narrow)} of ${grouped(matrices)} matrices`;
  if (!probabilities) {
    return `${matrices > 1 ? `the eigenvalues of ${these}` : "its eigenvalues"}, the largest apart, are ${ALIKE}; no phase of the theory looks so.`;
  }
  const [have, their] = narrow > 1 ? ["have", "their"] : ["has", "its"];
  return matrices > 1 ? `${these} ${have} no part in this: ${their} eigenvalues, the largest apart, are ${ALIKE}, as in no phase.`
    : `The eigenvalues that are not lost are ${ALIKE}, as in no other phase.`;
}

function phaseWords(found, meanings, phase) {
  const { probabilities } = found;
  if (!probabilities) return [make("b", {}, "Undecided"), `: ${narrowWords(found)}`];
  const names = phaseOrder(meanings);
  const ranked = probabilities.map((share, i) => [share, names[i]]).sort((a, b) => b[0] - a[0]);
  if (phase in meanings && phase !== "undecided") {
    return [make("b", {}, capital(phase)), `, with a probability of ${sure(ranked[0][0])}: ${meanings[phase]}.`];
  }
  const [first, second] = ranked.map(([chances, name]) => `${name} (${sure(chances)})`);
  return [make("b", {}, "Undecided"), `: no phase is likelier than all others together. The likeliest are ${first} and ${second}.`];
}

function phaseBars({ probabilities }, meanings, phase) {
  const bar = (share, i) => {
    const name = phaseOrder(meanings)[i];
    const filled = make("i");
    filled.style.width = `${100 * share}%`;
    const chosen = name === phase ? " chosen" : "";
    return make("li", { class: `phase${i}${chosen}`, "data-tip": `${capital(name)}: ${meanings[name]}.` },
      make("span", {}, name), make("span", { class: "track" }, filled), make("span", { class: "number" }, sure(share)));
  };
  return make("ul", { class: "shares", "aria-label": "Probability of each phase" }, ...probabilities.map(bar));
}

/* The evidence: of each its name, how its value is written, and what it says. */

const two = (number) => significant(number, 2);
const share = (number) => (number === 0 ? "0" : percent(number));
const equals = (p) => (p < 1e-15 ? `p ${chance(p)}` : `p\u00a0=\u00a0${significant(p, 2)}`);

const EDGES = {
  "": "Not told from noise's concave edge", concave: "Concave, and softer than noise's",
  exponential: "Softer than noise's: as of exponential decay, 0 is in the interval", "power law": "As of a power law",
};

const EVIDENCE = {
  lost: ["lost directions", share, (_, rank, all) => `Hard rank ${grouped(rank)} of ${grouped(all)}: the share of ` +
    "eigenvalues that are nil beside the others. Noise loses none, or one if it is square."],
  misfit: ["misfit to noise", share, () => "Share of the bulk's eigenvalues out of place against Marchenko and Pastur's " +
    "law; p is the chance of so many in noise."],
  beyond: ["beyond the edge", share, () => "Share of the eigenvalues beyond the edge of the bulk. " +
    "Noise seldom has more than one there."],
  outliers: ["outliers", grouped, () => "Eigenvalues beyond what Gaussian noise of equal entries reaches in 99 of " +
    "100 cases (Tracy and Widom); p is the chance of the largest. The table's spikes can be fewer or more: they allow for " +
    "rows and columns of unequal scale, and for kurtosis."],
  soft_rank: ["soft rank", two, () => "Edge of the bulk over the largest eigenvalue. About 1 for noise."],
  breadth: ["breadth", two, (p, noise, at) => `${equals(p)} for noise as ${at < noise ? "narrow" : "broad"}. ` +
    "Mean log of the upper half of the eigenvalues, without the largest tenth, over their median: " +
    `${two(noise)} for noise of this shape.`],
  edge: ["shape of the edge", two, (p, noise, shape) => `${EDGES[shape]}. Index ξ: below 0 for a concave edge, 0 for ` +
    `exponential decay, above for a power law; ${two(noise)} for noise of this shape.`],
  law: ["law beyond the edge", two, (_, p) => `${equals(p)} of no difference. Log-likelihood of a power law ` +
    "over that of an exponential, for each eigenvalue beyond the edge but the three largest: positive for a power law, " +
    "negative for exponential decay. Noise has too few there."],
};

function interval([, low, high], matrices, form) {
  if (low === undefined || low === null || high === null) return "";
  if (form(low) === form(high)) return "";
  return `${matrices > 1 ? "Range" : "95\u202f% interval"} ${form(low)} to ${form(high)}. `;
}

const SIGNS = ["like noise", "unlike noise"];

function evidenceLine(name, number, unlike, text) {
  const sign = unlike === null ? null : make("small", { class: `sign ${unlike ? "unlike" : "like"}` }, SIGNS[unlike]);
  return make("div", {}, make("dt", {}, name, sign),
    make("dd", {}, make("b", {}, number), make("small", {}, text)));
}

const TESTED = new Set(["misfit", "outliers", "edge"]);

function observed(key, [unlike, at, p, ...more], matrices) {
  const [name, form, words] = EVIDENCE[key];
  const chances = TESTED.has(key) && p !== null ? `${equals(p)}. ` : "";
  return evidenceLine(name, form(at[0]), unlike, interval(at, matrices, form) + chances + words(p, ...more, at[0]));
}

const heaviness = (mu) => (mu < 2 ? "very" : mu <= 4 ? "moderately" : "weakly");

/* The exponent and the class that its tail index belongs to. */
function exponentLine([, [mu, low, high]], get) {
  const alpha = (column) => show("alpha", get(column));
  const known = low !== null && high !== null;
  const [from, to] = (known ? [low, high] : [mu, mu]).map(heaviness);
  const spans = from === to ? "" : `, though the interval spans ${from} to ${to} heavy`;
  const p = get("p_value");
  const test = p === null ? "" : `The power law ${p <= 0.05 ? "is rejected" : "passes its test"} (${equals(p)}). `;
  const [ofAlpha, ofMu] = known ? [`95\u202f% interval ${alpha("alpha_lo")} to ${alpha("alpha_hi")}. `,
    ` (${significant(low)} to ${significant(high)})`] : ["", ""];
  return evidenceLine("exponent α", alpha("alpha"), null,
    `${ofAlpha}${capital(heaviness(mu))} heavy${spans}: tail index μ ≈ ${significant(mu)}${ofMu}, very heavy below 2, weakly ` +
    `above 4. ${test}A fit finds an exponent in noise too: the number alone tells nothing of noise.`);
}

/* The section of the panel. */
function phaseSection(found, meanings, get) {
  const title = make("h3", {}, "phase");
  if (!found.evidence) return [title, make("p", { class: "calm" }, `${capital(found.reason)}.`)];
  const { probabilities, evidence, matrices, remark } = found;
  const lines = Object.keys(EVIDENCE).filter((key) => key in evidence)
    .map((key) => observed(key, evidence[key], matrices));
  if (evidence.exponent) lines.push(exponentLine(evidence.exponent, get));
  const few = matrices && !("soft_rank" in evidence)
    ? [make("p", { class: "caption" }, "Too few directions are left to tell more of them.")] : [];
  const pooled = matrices > 1
    ? [make("p", { class: "caption" }, `Medians of ${grouped(matrices)} matrices, and their range.`)] : [];
  const apart = probabilities ? narrowWords(found) : "";
  const calm = [remark && `${capital(remark)}.`, apart].filter(Boolean)
    .map((text) => make("p", { class: "calm" }, text));
  return [title, make("div", { class: "verdict" }, make("p", {}, ...phaseWords(found, meanings, get("phase"))), ...calm),
    ...(probabilities ? [phaseBars(found, meanings, get("phase"))] : []), ...pooled, make("dl", { class: "observed" }, ...lines), ...few,
    make("p", { class: "caption" }, "Here the noise is taken as Gaussian and alike in all entries, so outliers and edge " +
      "can differ from the spikes and the edge under noise, which allows for others.")];
}
