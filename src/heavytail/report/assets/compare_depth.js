/* A comparison against depth: how far each layer moved, the rank of its change, and how its metrics changed. */

const FORM_OF_CHANGE = { noise: 0, dense: 1, spiked: 2, "low rank": 3 };
const TOO_SMALL = 5;

/* A form and a colour for each kind of change; hollow where nothing changed. */
const changeMark = (kind, r, attributes = {}) => (kind === "none"
  ? shape("path", { ...attributes, d: MARKS[0](r), class: `still ${attributes.class || ""}` })
  : mark(FORM_OF_CHANGE[kind] ?? TOO_SMALL, r, attributes));

const hueOfChange = (kind) => `hue${FORM_OF_CHANGE[kind] ?? TOO_SMALL}`;

const changeIcon = (kind) => icon(changeMark(kind, 4));

const markSize = (rows) => (rows.length > 250 ? 2.6 : rows.length > 90 ? 3.2 : 4);

const depthFrame = (host, rows, left, more) => frame(host, {
  ...more, x: { scale: linearScale, domain: [0.5 - sideRoom(rows), rows.length + 0.5 + sideRoom(rows)] },
  margin: { top: 26, right: 12, bottom: more.bottom, left },
});

const at = ({ x, y }) => ({ transform: `translate(${x.toFixed(1)},${y.toFixed(1)})` });

function drawMoved(host, { rows, value, middle, label, matched, selected, open, left }) {
  const numbers = rows.map((row) => value("relative_change", row));
  const positive = numbers.filter((number) => number > 0);
  if (!positive.length) {
    host.replaceChildren(make("p", { class: "calm" }, "No matrix changed."));
    return;
  }
  const chart = depthFrame(host, rows, left, {
    height: 270, bottom: 24, xLabel: "", yLabel: "relative change ‖Δ‖ / ‖W‖", title: "Relative change against depth",
    y: { scale: logScale, domain: [Math.min(...positive) / 1.7, Math.max(...positive) * 1.4] },
  });
  if (middle) drawMiddle(chart, middle);
  const radius = markSize(rows);
  const places = rows.map((row, i) => {
    const height = numbers[i] > 0 ? chart.y(numbers[i]) : chart.bottom - 6;
    return { row, x: chart.x(i + 1), y: height, kind: numbers[i] === null ? null : value("change", row) ?? "" };
  });
  for (const place of places) {
    const dim = matched.has(place.row) ? "" : "faint";
    chart.plot.append(place.kind === null ? shape("path", { ...at(place), d: FORMS.absent, class: `absent ${dim}` })
      : changeMark(place.kind, radius, { ...at(place), class: dim }));
  }
  followPointer(chart, places, { ring: radius + 4, selected, open, label });
}

function drawMiddle({ plot, svg, y, left, right }, middle) {
  plot.append(shape("line", { x1: left, x2: right, y1: y(middle), y2: y(middle), class: "middle" }));
  svg.append(shape("text", { x: right - 4, y: y(middle) - 5, "text-anchor": "end", class: "note" }, "median"));
}

/* Lanes of bars, one a layer, each lane as tall as its largest number. */

const TALL = 34;

function drawLanes(host, lanes, { rows, value, label, matched, selected, open, left }) {
  if (!rows.length) return;
  const [width, height] = [Math.max(260, host.clientWidth), lanes.length * TALL + 6];
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "lanes",
    "aria-label": "Suggested rank and intruder dimensions of each layer, in the order of the model" });
  const x = linearScale([0.5 - sideRoom(rows), rows.length + 0.5 + sideRoom(rows)], [left, width - 12]);
  const wide = Math.max(1, Math.min(9, (x(2) - x(1)) * 0.7));
  lanes.forEach(([column, title], lane) => {
    const foot = (lane + 1) * TALL - 2;
    const most = Math.max(0, ...rows.map((row) => value(column, row) ?? 0));
    svg.append(shape("line", { x1: left, x2: width - 12, y1: foot + 0.5, y2: foot + 0.5, class: "grid" }),
      shape("text", { x: left - 7, y: foot - 11, "text-anchor": "end" }, title),
      shape("text", { x: left - 7, y: foot + 1, "text-anchor": "end" }, most ? `up to ${grouped(most)}` : "none"));
    rows.forEach((row, i) => {
      const number = value(column, row);
      if (!number) return;
      const tall = Math.max(2, (number / most) * (TALL - 8));
      svg.append(shape("rect", { x: (x(i + 1) - wide / 2).toFixed(1), y: (foot - tall).toFixed(1), width: wide.toFixed(1),
        height: tall.toFixed(1), class: matched.has(row) ? column : `${column} faint` }));
    });
  });
  followColumn(svg, rows, { x, height: height - 5, selected, open, label });
  host.replaceChildren(svg);
}

/* The stretch of changes, zero in it: extreme ones of an exponent are clipped, and intervals may run beyond. */
function changeExtent(metric, changes, lows, highs) {
  const sorted = (values) => [...values].sort((a, b) => a - b);
  const all = sorted([...changes, 0]);
  const [q1, q3] = [quantile(all, 0.25), quantile(all, 0.75)];
  const slack = WILD.has(metric) && changes.length > 8 && q3 > q1 ? 12 * (q3 - q1) : Infinity;
  const low = Math.min(Math.max(all[0], q1 - slack), quantile(sorted(lows), 0.25));
  const high = Math.max(Math.min(all[all.length - 1], q3 + slack), quantile(sorted(highs), 0.75));
  const pad = 0.08 * (high - low) || 1;
  const domain = [low - pad, high + pad];
  return { scale: linearScale, domain, clipped: { low: domain[0], high: domain[1] } };
}

function drawChange(host, metric, { rows, value, computed, label, matched, selected, open, left }) {
  const get = (what) => rows.map((row) => value(`${metric}_${what}`, row));
  const [changes, lows, highs] = [get("change"), get("change_lo"), get("change_hi")];
  const known = (values) => values.filter((number) => number !== null);
  if (!known(changes).length) {
    host.replaceChildren(make("p", { class: "calm" }, `No layer has ${metric} in both models.`));
    return;
  }
  const y = changeExtent(metric, known(changes), known(lows), known(highs));
  const chart = depthFrame(host, rows, left, {
    height: 290, bottom: 36, y, xLabel: "layer, in the order of the model", title: `Change of ${metric} against depth`,
    yLabel: `change of ${SYMBOLS[metric] || metric}`,
  });
  const nought = chart.y(0);
  chart.plot.append(shape("line", { x1: chart.left, x2: chart.right, y1: nought, y2: nought, class: "zero" }));
  const radius = markSize(rows);
  const places = rows.map((row, i) =>
    ({ row, i, x: chart.x(i + 1), kind: value("change", row) ?? "", ...standing(changes[i], chart, y.clipped) }));
  for (const place of places) {
    const [low, high] = [lows[place.i], highs[place.i]];
    const dim = matched.has(place.row) ? "" : "faint";
    if (low < high) {
      chart.plot.append(shape("line", { x1: place.x, x2: place.x, y1: chart.y(low).toFixed(1), y2: chart.y(high).toFixed(1),
        class: `bar ${hueOfChange(place.kind)} ${dim}` }));
    }
    if (place.form !== "mark") {
      const hue = place.form === "absent" ? "absent" : `arrow ${hueOfChange(place.kind)}`;
      chart.plot.append(shape("path", { ...at(place), d: FORMS[place.form], class: `${hue} ${dim}` }));
    } else {
      const sure = (computed || low < high) && (low > 0 || high < 0);
      chart.plot.append(changeMark(place.kind, radius, { ...at(place), class: `${sure ? "" : "open"} ${dim}` }));
    }
  }
  followPointer(chart, places, { ring: radius + 4, selected, open, label });
}
