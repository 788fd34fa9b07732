/* A scatter: points {x, y, kind, series, name, said}, a line with its band, the lines of parts of the points, and names
   where there is room. It is as tall as its host. */

function scatter(host, { points, line, firm, segments = [], xLabel, yLabel, title }) {
  const chart = frame(host, {
    height: host.clientHeight, title, xLabel, yLabel,
    margin: { top: 26, right: 14, bottom: 36, left: 46 },
    x: { scale: linearScale, domain: padded(points.map(({ x }) => x), 0.07) },
    y: { scale: linearScale, domain: padded([...points.map(({ y }) => y), ...(line?.y ?? [])], 0.12) },
  });
  chart.svg.setAttribute("role", "group");
  if (line) drawLine(chart, line, firm);
  segments.forEach((segment) => drawSegment(chart, segment));
  const marks = shape("g", { class: "points" });
  chart.svg.append(marks);
  const places = points.map((point) => ({ ...point, left: chart.x(point.x), top: chart.y(point.y) }))
    .sort((a, b) => a.left - b.left || a.top - b.top);
  const radius = points.length > 60 ? 3.4 : 4.2;
  const drawn = places.map((place, i) => drawPoint(place, radius, i === 0));
  marks.append(...drawn);
  placeNames(chart, places, line);
  watchArrows(drawn);
}

/* The stretch of an axis, with some room around the values. */
function padded(values, share) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = share * (high - low) || Math.abs(high) * 0.1 || 1;
  return [low - pad, high + pad];
}

function drawLine({ plot, x, y }, line, firm) {
  const steps = line.low.length - 1;
  const at = (i) => x(line.x[0] + ((line.x[1] - line.x[0]) * i) / steps).toFixed(1);
  if (firm && line.low.every((value) => value !== null)) {
    const upper = line.high.map((value, i) => `${at(i)},${y(value).toFixed(1)}`);
    const lower = line.low.map((value, i) => `${at(i)},${y(value).toFixed(1)}`).reverse();
    plot.append(shape("path", { d: `M${[...upper, ...lower].join("L")}Z`, class: "fan" }));
  }
  plot.append(straight(x, y, line, firm ? "fit" : "fit weak"));
}

const straight = (x, y, line, paint) =>
  shape("line", { x1: x(line.x[0]), x2: x(line.x[1]), y1: y(line.y[0]), y2: y(line.y[1]), class: paint });

function drawSegment({ plot, x, y }, { series, line, firm }) {
  const segment = straight(x, y, line, `segment hue${series % 7}${firm ? "" : " weak"}`);
  segment.dataset.series = series;
  plot.append(segment);
}

/* A point without a kind is a ring. */
function drawPoint({ left, top, kind, series, said }, radius, first) {
  const point = shape("g", { class: "point", transform: `translate(${left.toFixed(1)},${top.toFixed(1)})`,
    tabindex: first ? 0 : -1, role: "img", "aria-label": said.join(", ") },
  shape("circle", { r: 9, class: "reach" }),
  kind === null ? shape("circle", { r: radius * 0.8, class: "lone" }) : mark(kind, radius));
  point.dataset.tip = said.join("\n");
  point.dataset.series = series;
  return point;
}

/* The arrow keys go through the points from left to right. */
function watchArrows(points) {
  points.forEach((point, i) => point.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const next = points[i + step];
    if (!next) return;
    event.preventDefault();
    point.setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  }));
}

function shortened(text, most) {
  const letters = [...text];
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : text;
}

/* Write a name beside its mark in the first of eight places where it hits neither a mark nor a name, off the line if it
   can; a name that finds none, and every name of a crowded panel, is left to the tooltip. */
function placeNames({ svg, x, y, left, right, top, bottom }, places, line) {
  if (places.length > ((right - left) * (bottom - top)) / 2600) return;
  const taken = places.map((place) => box(place.left - 5, place.top - 5, 10, 10));
  const inside = (area) => area.left >= left && area.right <= right && area.top >= top - 4 && area.bottom <= bottom;
  const free = (area) => inside(area) && !taken.some((other) => meet(area, other));
  const off = line ? (area) => !crosses(area, [x(line.x[0]), y(line.y[0])], [x(line.x[1]), y(line.y[1])]) : () => true;
  const layer = shape("g", { class: "names", "aria-hidden": "true" });
  svg.insertBefore(layer, svg.querySelector(".points"));
  for (const place of places) {
    const text = shape("text", {}, shortened(place.name, 24));
    layer.append(text);
    const open = around(place, text.getComputedTextLength(), 12).filter(free);
    const area = open.find(off) ?? open[0];
    if (!area) {
      text.remove();
      continue;
    }
    taken.push(area);
    fill(text, { x: area.left.toFixed(1), y: (area.bottom - 2.5).toFixed(1) }, []);
  }
}

const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/* Whether the line from one point to another passes through an area. */
function crosses(area, [x0, y0], [x1, y1]) {
  const [from, to] = [Math.max(area.left, x0), Math.min(area.right, x1)];
  if (from >= to) return false;
  const height = (x) => y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
  const [a, b] = [height(from), height(to)];
  return Math.min(a, b) < area.bottom && Math.max(a, b) > area.top;
}

const box = (left, top, width, height) => ({ left, top, right: left + width, bottom: top + height });

function around({ left, top }, width, height) {
  const [near, far] = [7, 6 + height];
  const [beside, before, middle] = [left + near, left - near - width, left - width / 2];
  return [[beside, top - height / 2], [before, top - height / 2], [middle, top - far], [middle, top + 6],
    [left + 3, top - far], [left + 3, top + 6], [left - width - 3, top - far], [left - width - 3, top + 6]]
    .map(([x, y]) => box(x, y, width, height));
}
