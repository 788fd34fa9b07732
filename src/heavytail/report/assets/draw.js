"use strict";

/* Elements. Texts from the data only ever become text nodes. */

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

const shape = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/* Numbers. */

const DECIMALS = {
  Q: 2, log_norm: 2, log_spectral_norm: 2, stable_rank: 1, entropy: 3, alpha: 2, alpha_lo: 2, alpha_hi: 2, sigma: 2,
  D: 3, p_value: 3, alpha_hill: 2, alpha_weighted: 2, log_alpha_norm: 2, tail_excess: 2, tail_score: 1, mp_softrank: 3, rand_distance: 3,
  phase_probability: 2,
};
const COUNTS = new Set(["N", "M", "num_matrices", "num_evals", "matrix_rank", "rank_loss", "num_pl_spikes",
  "num_spikes", "num_traps"]);

const superscript = (whole) =>
  [...String(whole)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");

const signed = (text) => text.replace("-", "−");

function scientific(value, digits = 3) {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  return signed(mantissa) + "×10" + superscript(Number(exponent));
}

function significant(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? scientific(value, digits) : signed(String(Number(value.toPrecision(digits))));
}

function grouped(value) {
  const text = String(value);
  return text.length < 5 ? text : text.replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function show(column, value) {
  if (value === null || value === "") return "–";
  if (typeof value === "string") return value;
  if (COUNTS.has(column)) return grouped(Math.round(value));
  if (!(column in DECIMALS)) return significant(value);
  return Math.abs(value) >= 1e4 ? scientific(value) : signed(value.toFixed(DECIMALS[column]));
}

/* An exponent with its interval, to the same decimals. */
function withInterval(alpha, low, high) {
  const text = (number) => (Math.abs(alpha) < 100 ? show("alpha", number) : grouped(Math.round(number)));
  return low === null ? text(alpha) : `${text(alpha)} (${text(low)} to ${text(high)})`;
}

/* Scales: a function from a value to a place, with its ticks. */

function linearScale([from, to], [start, end]) {
  const scale = (value) => start + ((value - from) / (to - from)) * (end - start);
  scale.ticks = (count) => {
    const raw = (to - from) / Math.max(1, count);
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw * 0.999);
    const first = Math.ceil(from / step - 1e-9);
    const last = Math.floor(to / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => {
      const value = Number(((first + i) * step).toPrecision(12));
      return { value, label: significant(value, 4) };
    });
  };
  return scale;
}

function logScale([from, to], [start, end]) {
  const [low, high] = [Math.log10(from), Math.log10(to)];
  const scale = (value) => start + ((Math.log10(value) - low) / (high - low)) * (end - start);
  scale.ticks = (count) => {
    const powers = range(Math.ceil(low - 1e-9), Math.floor(high + 1e-9));
    if (powers.length < 3) return multiples(low, high, count);
    const step = Math.ceil(powers.length / Math.max(2, count));
    return powers.map((power) => ({ value: 10 ** power, label: power % step === 0 ? "10" + superscript(power) : "" }));
  };
  return scale;
}

function multiples(low, high, count) {
  const ticks = range(Math.floor(low), Math.ceil(high)).flatMap((power) =>
    [1, 2, 5].map((factor) => ({ factor, power, value: factor * 10 ** power })));
  const inside = ticks.filter(({ value }) => Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9);
  const sparse = inside.length > count && inside.some(({ factor }) => factor === 1);
  const plain = inside.every(({ power }) => power >= -3 && power < 4);
  const label = (factor, power, value) =>
    (plain ? significant(value) : (factor === 1 ? "" : factor + "×") + "10" + superscript(power));
  return inside.map(({ factor, power, value }) =>
    ({ value, label: sparse && factor !== 1 ? "" : label(factor, power, value) }));
}

const range = (from, to) => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

const quantile = (sorted, share) => sorted[Math.round((sorted.length - 1) * share)];

/* A frame: axes, grid and a clipped layer to draw on. */

let clips = 0;

function frame(host, { height, x, y, xLabel, yLabel, title, margin = { top: 26, right: 12, bottom: 36, left: 52 } }) {
  const width = Math.max(260, host.clientWidth);
  const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom];
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": title });
  const [toX, toY] = [x.scale(x.domain, [left, right]), y.scale(y.domain, [bottom, top])];
  const axes = shape("g", { class: "axes" });
  for (const { value, label } of toX.ticks((right - left) / 60)) {
    const place = toX(value);
    axes.append(shape("line", { x1: place, x2: place, y1: top, y2: bottom, class: label ? "grid" : "grid minor" }),
      shape("text", { x: place, y: bottom + 15, "text-anchor": "middle" }, label));
  }
  for (const { value, label } of toY.ticks((bottom - top) / 34)) {
    const place = toY(value);
    axes.append(shape("line", { x1: left, x2: right, y1: place, y2: place, class: label ? "grid" : "grid minor" }),
      shape("text", { x: left - 7, y: place + 3.5, "text-anchor": "end" }, label));
  }
  axes.append(shape("path", { d: `M${left},${top}V${bottom}H${right}`, class: "axis" }));
  axes.append(shape("text", { x: right, y: height - 5, "text-anchor": "end", class: "title" }, xLabel));
  axes.append(shape("text", { x: 2, y: 13, class: "title" }, yLabel));
  const clip = `clip${(clips += 1)}`;
  const plot = shape("g", { "clip-path": `url(#${clip})` });
  svg.append(shape("defs", {}, shape("clipPath", { id: clip },
    shape("rect", { x: left, y: top - 1, width: right - left, height: bottom - top + 2 }))), axes, plot);
  host.replaceChildren(svg);
  return { svg, plot, x: toX, y: toY, left, right, top, bottom, width };
}

/* Marks that differ in form as well as in colour. */

const MARKS = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (r) => `M${-r * 0.9},${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  (r) => `M0,${-r * 1.2}L${r * 1.15},${r * 0.85}H${-r * 1.15}z`,
  (r) => `M0,${-r * 1.3}L${r * 1.3},0L0,${r * 1.3}L${-r * 1.3},0z`,
  (r) => `M0,${r * 1.2}L${r * 1.15},${-r * 0.85}H${-r * 1.15}z`,
  (r) => [0, 90, 180, 270].map((turn) => petal(r, (turn * Math.PI) / 180)).join("") + "z",
];

/* One arm of a plus sign. */
function petal(r, turn) {
  const corner = ([x, y]) => [x * Math.cos(turn) - y * Math.sin(turn), x * Math.sin(turn) + y * Math.cos(turn)];
  const path = [[-0.4, -0.4], [-0.4, -1.25], [0.4, -1.25]].map(corner);
  return path.map(([x, y], i) => `${turn || i ? "L" : "M"}${(x * r).toFixed(2)},${(y * r).toFixed(2)}`).join("");
}

const mark = (kind, r, { class: extra = "", ...attributes } = {}) =>
  shape("path", { ...attributes, d: MARKS[kind % MARKS.length](r), class: `mark hue${kind % 7} ${extra}` });

/* A mark among words. */
const icon = (drawn) => shape("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" }, drawn);

/* The one tooltip: for anything with data-tip, on hover and on focus. */

const tip = document.getElementById("tip");

function showTip(text, box) {
  tip.textContent = text;
  tip.hidden = false;
  const room = document.documentElement.clientWidth;
  const left = Math.min(Math.max(8, (box.left + box.right - tip.offsetWidth) / 2), room - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
}

function hideTip() {
  tip.hidden = true;
  document.querySelectorAll("[aria-describedby=tip]").forEach((node) => node.removeAttribute("aria-describedby"));
}

function watchTips() {
  const enter = ({ target }) => {
    const node = target.closest?.("[data-tip]");
    if (!node) return;
    showTip(node.dataset.tip, node.getBoundingClientRect());
    node.setAttribute("aria-describedby", "tip");
  };
  const leave = ({ target }) => target.closest?.("[data-tip]") && hideTip();
  document.addEventListener("mouseover", enter);
  document.addEventListener("focusin", enter);
  document.addEventListener("mouseout", leave);
  document.addEventListener("focusout", leave);
  document.addEventListener("scroll", () => {
    const node = document.querySelector("[aria-describedby=tip]");
    if (node) showTip(node.dataset.tip, node.getBoundingClientRect());
    else if (!tip.hidden) hideTip();
  }, { capture: true, passive: true });
}
