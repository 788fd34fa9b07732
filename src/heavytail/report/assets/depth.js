/* A metric against depth: one mark a layer, in the order of the model. */

const SYMBOLS = {
  alpha: "α", alpha_weighted: "α̂ = α log₁₀ λmax", alpha_hill: "α (Hill)", log_alpha_norm: "log₁₀ Σ λ^α",
  log_norm: "log₁₀ ‖W‖²", log_spectral_norm: "log₁₀ λmax", stable_rank: "stable rank",
};
const METRICS = ["alpha", "alpha_weighted", "alpha_hill", "log_alpha_norm", "tail_excess", "tail_score", "log_norm", "log_spectral_norm",
  "stable_rank", "matrix_rank", "rank_loss", "entropy", "D", "num_pl_spikes", "xmin", "lambda_max", "p_value",
  "mp_softrank", "num_spikes", "num_traps", "rand_distance", "sigma_mp", "bulk_edge"];
const WILD = new Set(["alpha", "alpha_weighted", "alpha_hill", "log_alpha_norm"]);
const REACH = 26;

const sideRoom = (rows) => 0.004 * rows.length;

/* The stretch of the axis: extreme values of an exponent are clipped, wide positive ranges become logarithmic. */
function extent(metric, values) {
  const sorted = [...values].sort((a, b) => a - b);
  let [low, high] = [sorted[0], sorted[sorted.length - 1]];
  if (WILD.has(metric) && sorted.length > 4) {
    const [q1, q3] = [quantile(sorted, 0.25), quantile(sorted, 0.75)];
    const slack = 6 * Math.max(q3 - q1, 0.1 * Math.abs(q3), 0.1);
    low = Math.max(low, q1 - slack);
    high = Math.min(high, q3 + slack);
  }
  if (metric === "alpha") {
    low = Math.min(low, 1.5);
    high = Math.max(high, 7);
  }
  if (low > 0 && high / low > (metric === "alpha" ? 10 : 30)) {
    return { scale: logScale, domain: [low / 1.15, high * 1.15], clipped: { low, high } };
  }
  const pad = 0.06 * (high - low) || Math.abs(high) * 0.1 || 1;
  const foot = low >= 0 ? Math.max(0, low - pad) : low - pad;
  return { scale: linearScale, domain: [foot, high + pad], clipped: { low, high } };
}

function drawDepth(host, metric, { rows, kinds, value, label, matched, selected, open, left }) {
  const numbers = rows.map((row) => value(metric, row));
  const known = numbers.filter((number) => number !== null);
  if (!known.length) {
    host.replaceChildren(make("p", { class: "calm" }, `No layer has a value of ${metric}.`));
    return;
  }
  const y = extent(metric, known);
  const margin = sideRoom(rows);
  const chart = frame(host, {
    height: 310, y, x: { scale: linearScale, domain: [0.5 - margin, rows.length + 0.5 + margin] },
    xLabel: "layer, in the order of the model", yLabel: SYMBOLS[metric] || metric, title: `${metric} against depth`,
    margin: { top: 26, right: 12, bottom: 36, left },
  });
  if (metric === "alpha") drawBand(chart);
  const radius = rows.length > 250 ? 2.6 : rows.length > 90 ? 3.2 : 4;
  const places = rows.map((row, i) =>
    ({ row, number: numbers[i], x: chart.x(i + 1), ...standing(numbers[i], chart, y.clipped) }));
  for (const place of places) {
    const ends = metric === "alpha" ? [value("alpha_lo", place.row), value("alpha_hi", place.row)] : [null];
    const faint = !matched.has(place.row);
    drawPlace(chart, place, { ends, kind: kinds.get(place.row), radius, faint, least: y.domain[0] });
  }
  followPointer(chart, places, { ring: radius + 4, selected, open, label: (row) => label(metric, row) });
}

/* Where a number stands: on the axis, at an edge because it lies beyond, or at the foot because there is none. */
function standing(number, chart, clipped) {
  if (number === null) return { form: "absent", y: chart.bottom - 6 };
  if (number > clipped.high) return { form: "above", y: chart.top + 3 };
  if (number < clipped.low) return { form: "below", y: chart.bottom - 3 };
  return { form: "mark", y: chart.y(number) };
}

const FORMS = { absent: "M-3,-3L3,3M-3,3L3,-3", above: "M0,9V0M-4,4L0,0L4,4", below: "M0,-9V0M-4,-4L0,0L4,-4" };

function drawPlace({ plot, y }, { form, ...at }, { ends, kind, radius, faint, least }) {
  const place = { transform: `translate(${at.x.toFixed(1)},${at.y.toFixed(1)})` };
  const dim = faint ? " faint" : "";
  if (form !== "mark") {
    const hue = form === "absent" ? "absent" : `arrow hue${kind % 7}`;
    plot.append(shape("path", { ...place, d: FORMS[form], class: hue + dim }));
    return;
  }
  if (ends[0] !== null) {
    const [low, high] = ends.map((value) => y(Math.max(value, least / 2)).toFixed(1));
    plot.append(shape("line", { x1: at.x, x2: at.x, y1: low, y2: high, class: `bar hue${kind % 7}${dim}` }));
  }
  plot.append(mark(kind, radius, { ...place, class: dim }));
}

/* Name the mark nearest to the pointer, open it on a click, and keep a ring around the open one. */
function followPointer({ svg }, places, { ring: size, selected, open, label }) {
  const ring = shape("circle", { r: size, class: "ring" });
  svg.append(ring);
  const circle = (place) => fill(ring, { visibility: place ? "visible" : "hidden", cx: place?.x, cy: place?.y }, []);
  const rest = () => circle(places.find((place) => place.row === selected()));
  const nearest = ({ clientX, clientY }) => {
    const box = svg.getBoundingClientRect();
    const distance = (place) => Math.hypot(place.x - clientX + box.left, place.y - clientY + box.top);
    const best = places.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    return distance(best) < REACH ? best : null;
  };
  svg.addEventListener("pointermove", (event) => {
    const place = nearest(event);
    svg.style.cursor = place ? "pointer" : "";
    if (!place) {
      hideTip();
      rest();
      return;
    }
    circle(place);
    const box = svg.getBoundingClientRect();
    const [left, top] = [box.left + place.x, box.top + place.y];
    showTip(label(place.row), { left, right: left, top: top - 6, bottom: top + 6 });
  });
  svg.addEventListener("pointerleave", () => {
    hideTip();
    rest();
  });
  svg.addEventListener("click", (event) => {
    const place = nearest(event);
    if (place) open(place.row);
  });
  rest();
}

function drawBand({ plot, y, left, right, top, bottom }) {
  const [upper, lower] = [Math.max(top, y(6)), Math.min(bottom, y(2))];
  plot.append(shape("rect", { x: left, y: upper, width: right - left, height: lower - upper, class: "band" }));
  for (const edge of [y(2), y(6)]) {
    plot.append(shape("line", { x1: left, x2: right, y1: edge, y2: edge, class: "edge" }));
  }
}

/* A small histogram of one column, for a summary figure. */
function drawSpark(host, values, mean) {
  if (values.length < 3) return;
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[0], Math.min(sorted[sorted.length - 1], 3 * quantile(sorted, 0.9) - 2 * sorted[0])];
  if (!(high > low)) return;
  const [bins, width, height] = [28, 112, 22];
  const counts = new Array(bins).fill(0);
  const place = (number) => Math.min(bins - 1, Math.floor(((number - low) / (high - low)) * bins));
  values.forEach((number) => { counts[place(number)] += 1; });
  const most = Math.max(...counts);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true" });
  counts.forEach((count, i) => {
    if (!count) return;
    const tall = Math.max(1.5, (count / most) * (height - 2));
    const paint = i === place(mean) ? "mean" : null;
    svg.append(shape("rect", { x: i * 4, y: height - tall, width: 3, height: tall, class: paint }));
  });
  host.append(svg);
}
