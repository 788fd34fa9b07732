/* The charts of a run: where a statement would hold and what was measured, curves along training, and the ends. */

const number = (value) => (value === null || value === undefined ? "–" : significant(value));
const between95 = ([value, low, high]) =>
  (low === null || value === null ? number(value) : `${number(value)} (${number(low)} to ${number(high)})`);
const known = (value) => value !== null && value !== undefined;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

const MANY = 16; // settings of which each can still be told from the others
const several = data.settings.length > 1;
const told = (setting) => (several ? `${data.axis} ${data.settings[setting].label}, ` : "");

/* Colour by the place along the axis. */
const places = Math.max(...data.settings.map(({ place }) => place));
function paint(node, setting) {
  node.dataset.setting = setting;
  node.style.setProperty("--at", `${places ? Math.round((100 * data.settings[setting].place) / places) : 50}%`);
  return node;
}

/* A statement's range with what was measured; of a range far wider than that only the nearer end is shown. */
function drawRange(host, { range: stated, measured: [value, from, to], judgement }) {
  const [low, high] = stated.map((end) => (known(end) && Math.abs(end) < 1e-6 ? 0 : end)); // which only leaves zero out
  const ends = [value, from, to].filter(known);
  const near = [low, high].filter(known).sort((a, b) => Math.abs(a - (value ?? 0)) - Math.abs(b - (value ?? 0)));
  const shown = [...ends, ...near.slice(0, 1)];
  const span = () => Math.max(...shown) - Math.min(...shown);
  if (near.length > 1 && (!ends.length || Math.abs(near[1] - near[0]) < 6 * span() || !span())) shown.push(near[1]);
  const pad = 0.12 * span() || 0.1 * Math.abs(shown[0]) || 1;
  const [width, height] = [Math.max(150, host.clientWidth), 40];
  const x = linearScale([Math.min(...shown) - pad, Math.max(...shown) + pad], [1, width - 1]);
  const within = (place) => Math.min(width - 1, Math.max(1, place));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `measured: ${judgement}` });
  const [start, stop] = [low === null ? 1 : within(x(low)), high === null ? width - 1 : within(x(high))];
  svg.append(shape("line", { x1: 1, x2: width - 1, y1: 14, y2: 14, class: "axis" }),
    shape("rect", { x: start, width: Math.max(1, stop - start), y: 4, height: 20, class: "zone" }));
  let last = -Infinity;
  for (const end of [low, high].filter((e) => known(e) && x(e) > 0 && x(e) < width)) {
    svg.append(shape("line", { x1: x(end), x2: x(end), y1: 4, y2: 24, class: "end" }));
    const label = significant(end, 5);
    const place = Math.min(width - 3.2 * label.length, Math.max(3.2 * label.length, x(end)));
    if (place - last < 10 + 6.4 * label.length) continue;
    svg.append(shape("text", { x: place, y: 36, "text-anchor": "middle" }, label));
    last = place;
  }
  if (known(from)) svg.append(shape("line", { x1: within(x(from)), x2: within(x(to)), y1: 14, y2: 14, class: "interval" }));
  if (known(value)) svg.append(shape("circle", { cx: x(value), cy: 14, r: 4.5, class: "mean" }));
  host.replaceChildren(svg);
}

const PLAIN = { top: 8, right: 12, bottom: 36, left: 46 };

/* A card with a chart; `title` is a text or a node. */
function card(title) {
  const host = make("div", { class: "chart" });
  return { host, node: make("article", { class: "panel" }, make("h3", {}, title), host) };
}

/* Points can be reached with Tab, and from one to the next with the arrow keys. */
function openPoints({ svg }) {
  const points = [...svg.querySelectorAll(".point")];
  svg.setAttribute("role", "group");
  points.forEach((point, i) =>
    fill(point, { role: "img", tabindex: i ? -1 : 0, "aria-label": point.dataset.tip.replaceAll("\n", ", ") }, []));
  watchArrows(points);
}

/* Time from the initial state at 0, then logarithmic from the first look. */
const timeScale = (first) => ([, to], ends) => {
  const log = logScale([first / 2, to], ends);
  const scale = (value) => log(Math.max(value, first / 2));
  scale.ticks = (count) => [{ value: 0, label: "0" }, ...log.ticks(count).filter(({ value }) => value >= first * 0.99)];
  return scale;
};

/* The trainings of a setting, one number of their network or a layer along time: [time, mean, least, largest, seeds] at
   every look. */
function alongTime(setting, time, name, partOf) {
  const looks = new Map();
  for (const part of data.trials.filter((one) => one.setting === setting).map(partOf)) {
    (part?.columns[name] ?? []).forEach((value, i) => {
      if (known(value)) looks.set(part[time][i], [...(looks.get(part[time][i]) ?? []), value]);
    });
  }
  return [...looks].sort(([a], [b]) => a - b)
    .map(([at, values]) => [at, mean(values), Math.min(...values), Math.max(...values), values.length]);
}

function drawCurves(host, { time, name, partOf, label, title }) {
  const lines = data.settings.map((_, setting) => alongTime(setting, time, name, partOf));
  const looks = lines.flat();
  if (!looks.length) {
    host.replaceChildren(make("p", { class: "calm" }, "No training has a value of it."));
    return;
  }
  const first = Math.min(...looks.map(([at]) => at).filter((at) => at > 0), Infinity);
  const low = Math.min(...looks.map((look) => look[2]));
  const high = Math.max(...looks.map((look) => look[3]));
  const pad = 0.06 * (high - low) || 0.1 * Math.abs(high) || 1;
  const chart = frame(host, {
    height: 256, title, xLabel: time, yLabel: "", margin: PLAIN,
    x: { scale: timeScale(Number.isFinite(first) ? first : 1), domain: [0, Math.max(...looks.map(([at]) => at), 1)] },
    y: { scale: linearScale, domain: [low - pad, high + pad] },
  });
  lines.forEach((line, setting) => line.length && drawCurve(chart, line, setting, time, label));
  openPoints(chart);
}

function drawCurve({ plot, svg, x, y }, line, setting, time, label) {
  const corner = (at, value) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`;
  const upper = line.map(([at, , , most]) => corner(at, most));
  const lower = line.map(([at, , least]) => corner(at, least)).reverse();
  const variant = data.settings[setting].variant % 3;
  if (data.settings.length <= MANY) plot.append(paint(shape("path", { d: `M${[...upper, ...lower].join("L")}Z`, class: "shade" }), setting));
  plot.append(paint(shape("path", { d: `M${line.map(([at, value]) => corner(at, value)).join("L")}`, class: `line variant${variant}` }), setting));
  svg.append(...line.map(([at, value, least, most, seeds]) => {
    const point = paint(shape("g", { class: "point", transform: `translate(${corner(at, value)})` },
      shape("circle", { r: 7, class: "reach" }), shape("circle", { r: 2.4, class: "look" })), setting);
    const spread = seeds > 1 ? `, ${seeds} seeds from ${number(least)} to ${number(most)}` : "";
    point.dataset.tip = `${told(setting)}${time} ${grouped(at)}\n${label} ${number(value)}${spread}`;
    return point;
  }));
}

/* Places along the axis: logarithmic where values are positive and span much, in equal steps where they cannot be. */
function axisScale() {
  const values = data.settings.map(({ value, place }) => ({ value, place }));
  const numbers = values.map(({ value }) => value);
  const numeric = numbers.every(known);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const wide = numeric && low > 0 && high / low >= 8;
  const even = !numeric || (!wide && Math.min(...numbers.filter((value) => value > 0)) * 30 < high);
  const at = ({ value, place }) => (even ? place : value);
  const all = values.map(at);
  const [from, to] = [Math.min(...all), Math.max(...all)];
  const pad = even ? 0.5 : 0.08 * (to - from) || 1;
  const domain = wide ? [from / (to / from) ** 0.08, to * (to / from) ** 0.08] : [from - pad, to + pad];
  const scale = (given, ends) => {
    const inner = (wide ? logScale : linearScale)(given, ends);
    const outer = (value) => inner(value);
    outer.ticks = () => {
      let last = -Infinity;
      const seen = new Map(data.settings.map((setting) => [at(setting), setting]));
      return [...seen].sort(([a], [b]) => a - b).map(([value, setting]) => {
        const label = setting.value === null ? setting.label.split(",")[0] : significant(setting.value, 5);
        const free = inner(value) - last > 8 + 6.5 * label.length;
        if (free) last = inner(value);
        return { value, label: free ? label : "" };
      });
    };
    return outer;
  };
  return { at, scale, domain };
}

/* One number at the end of every training, by setting: seeds as rings, their mean with its interval. */
function drawEnds(host, { label, title, ends, seedsOf }) {
  const axis = axisScale();
  const found = data.settings.map((setting, i) => ({ i, setting, measured: ends(i), seeds: seedsOf(i) }))
    .filter(({ measured }) => measured);
  if (!found.length) {
    host.replaceChildren(make("p", { class: "calm" }, "No training has a value of it."));
    return;
  }
  const seeds = found.flatMap((one) => one.seeds);
  const [low, high] = [Math.min(...seeds), Math.max(...seeds)];
  const pad = 0.16 * (high - low) || 0.1 * Math.abs(high) || 1;
  const wide = low > 0 && high / low > 30;
  const y = wide ? { scale: logScale, domain: [low / 1.6, high * 1.6] } : { scale: linearScale, domain: [low - pad, high + pad] };
  const chart = frame(host, {
    height: 226, title, xLabel: data.axis, yLabel: "", margin: PLAIN,
    x: axis, y,
  });
  const variants = new Map();
  for (const one of found) variants.set(one.setting.variant, [...(variants.get(one.setting.variant) ?? []), one]);
  for (const [variant, members] of variants) {
    const path = members.map(({ setting, measured }) => `${chart.x(axis.at(setting)).toFixed(1)},${chart.y(measured[0]).toFixed(1)}`);
    chart.plot.append(shape("path", { d: `M${path.join("L")}`, class: `through variant${variant % 3}` }));
  }
  found.forEach((one) => drawEnd(chart, chart.x(axis.at(one.setting)), one, label, y.domain));
  openPoints(chart);
}

function drawEnd({ plot, svg, y }, place, { i, setting, measured, seeds }, label, [least, most]) {
  const group = paint(shape("g", {}), i);
  group.append(...seeds.map((value) => shape("circle", { cx: place, cy: y(value), r: 3.2, class: "seed" })));
  if (known(measured[1])) {
    group.append(shape("line", { x1: place, x2: place, y1: y(Math.max(least, measured[1])), y2: y(Math.min(most, measured[2])), class: "bars" }));
  }
  plot.append(group);
  const point = paint(shape("g", { class: "point", transform: `translate(${place.toFixed(1)},${y(measured[0]).toFixed(1)})` },
    shape("circle", { r: 9, class: "reach" }), shape("path", { d: MARKS[setting.variant % MARKS.length](4.2), class: "look" })), i);
  point.dataset.tip = `${data.axis} ${setting.label}\n${label} ${between95(measured)}, ${plural(measured[3], "seed")}`;
  svg.append(point);
}
