/* The spectrum of one layer: density and CCDF on log-log axes with the fitted tail, and linear histograms; on the
   density and the histograms also the noise. */

function legend(...items) {
  return make("span", { class: "keys" }, ...items.map(([key, text]) =>
    make("span", {}, make("i", { class: `key ${key}` }), text)));
}

function figure(title, keys, ...extras) {
  const chart = make("div", { class: "chart" });
  return [make("figure", {}, make("figcaption", {}, make("b", {}, title), ...extras, keys), chart), chart];
}

/* The fit of a layer, or null where there is none. */
function fitOf(get) {
  const [alpha, xmin, xmax, tail] = ["alpha", "xmin", "xmax", "num_pl_spikes"].map(get);
  const [low, high] = ["alpha_lo", "alpha_hi"].map(get);
  if (alpha === null || !(xmin > 0) || !(xmax >= xmin)) return null;
  const share = tail === null ? null : tail / get("num_evals");
  return {
    alpha, xmin, xmax, share, ends: low === null ? null : [low, high],
    density: (x, exponent = alpha) => (share * (exponent - 1) / xmin) * (x / xmin) ** -exponent,
    ccdf: (x, exponent = alpha) => share * (x / xmin) ** (1 - exponent),
  };
}

/* The power laws with the exponents of the interval, from the same start and of as many points. */
function drawFan({ plot, x, y }, { xmin, xmax, ends }, curve) {
  const corner = (value, exponent) =>
    `${x(value).toFixed(1)},${y(Math.max(curve(value, exponent), Number.MIN_VALUE)).toFixed(1)}`;
  const [low, high] = ends.map((exponent) => [xmin, xmax].map((value) => corner(value, exponent)));
  plot.append(shape("path", { d: `M${low.join("L")}L${high.reverse().join("L")}Z`, class: "fan" }));
}

function drawFit(chart, fit, curve) {
  if (!fit) return;
  const place = chart.x(fit.xmin);
  if (fit.ends && fit.share !== null) drawFan(chart, fit, curve);
  chart.plot.append(shape("line", { x1: place, x2: place, y1: chart.top, y2: chart.bottom, class: "xmin" }));
  if (fit.share !== null) {
    chart.plot.append(shape("line", { x1: place, y1: chart.y(curve(fit.xmin)), x2: chart.x(fit.xmax),
      y2: chart.y(Math.max(curve(fit.xmax), Number.MIN_VALUE)), class: "fit" }));
  }
  const flip = place > chart.right - 60;
  const anchor = { x: place + (flip ? -5 : 5), "text-anchor": flip ? "end" : "start" };
  chart.svg.append(shape("text", { ...anchor, y: chart.top + 11, class: "note" },
    "x", shape("tspan", { dy: 3, "font-size": "80%" }, "min")));
}

const wider = ([low, high], factor) => [low / factor, high * factor];

/* Where the bins of a logarithmic histogram begin. */
const binEdge = ([low, high], bins) => (i) => 10 ** (low + (i * (high - low)) / bins);

function shuffledDensity(shuffles, count) {
  if (!shuffles?.counts.length) return null;
  const edge = binEdge(shuffles.range, shuffles.counts.length);
  return { edge, density: shuffles.counts.map((held, i) => held / count / (edge(i + 1) - edge(i))) };
}

function drawDensity(host, curves, fit, noise) {
  const edge = binEdge(curves.range, curves.density.length);
  const [law, shuffled] = [lawOf(noise, curves.count), shuffledDensity(noise?.shuffles, curves.count)];
  const positive = [...curves.density, ...(shuffled?.density || [])].filter((value) => value > 0);
  const ends = [...curves.range, ...(shuffled ? noise.shuffles.range : []), ...(law ? [Math.log10(noise.edge)] : [])];
  const chart = frame(host, {
    height: 250, xLabel: "eigenvalue λ", yLabel: "density ρ(λ)", title: "Spectral density on logarithmic axes",
    x: { scale: logScale, domain: wider([10 ** Math.min(...ends), 10 ** Math.max(...ends)], 1.12) },
    y: { scale: logScale, domain: wider([Math.min(...positive), Math.max(...positive)], 2) },
  });
  const steps = () => curves.density.map((value, i) => {
    if (!value) return "";
    const places = [chart.x(edge(i)), chart.y(value), chart.x(edge(i + 1))].map((place) => place.toFixed(1));
    return `M${places[0]},${chart.bottom}V${places[1]}H${places[2]}V${chart.bottom}`;
  }).join("");
  chart.plot.append(shape("path", { d: steps(), class: "bulk" }));
  if (fit) {
    const clip = `clip${(clips += 1)}`;
    const start = chart.x(fit.xmin);
    chart.svg.firstChild.append(shape("clipPath", { id: clip }, shape("rect", { x: start, y: chart.top,
      width: Math.max(0, chart.right - start), height: chart.bottom - chart.top })));
    chart.plot.append(shape("g", { "clip-path": `url(#${clip})` }, shape("path", { d: steps(), class: "tail" })));
  }
  if (shuffled) drawOutline(chart, shuffled.density, shuffled.edge);
  if (law) {
    const from = Math.log10(Math.max(law.low, 10 ** (Math.min(...ends) - 1)));
    drawLaw(chart, between(from, Math.log10(law.high)).map((power) => [10 ** power, law.density(10 ** power)]));
    drawEdge(chart, noise.edge, fit ? 1 : 0);
    drawSpikes(chart, noise.spikes);
  }
  drawFit(chart, fit, fit?.density);
}

function drawCcdf(host, curves, fit, rivals) {
  const shares = curves.rank.map((rank) => rank / curves.count);
  const least = curves.x[curves.x.length - 1];
  const chart = frame(host, {
    height: 250, xLabel: "eigenvalue λ", yLabel: "share of eigenvalues ≥ λ",
    title: "Complementary distribution on logarithmic axes",
    x: { scale: logScale, domain: wider([fit ? Math.max(least, fit.xmin / 10) : least, curves.x[0]], 1.12) },
    y: { scale: logScale, domain: [shares[0] / 1.6, 1.3] },
  });
  curves.x.forEach((x, i) => {
    const inTail = fit && x >= fit.xmin * (1 - 1e-4);
    chart.plot.append(shape("circle", { cx: chart.x(x).toFixed(1), cy: chart.y(shares[i]).toFixed(1), r: 2.1,
      class: inTail ? "dot tail" : "dot bulk" }));
  });
  drawFit(chart, fit, fit?.ccdf);
  rivals.forEach((rival) => drawRival(chart, fit, rival));
}

function drawLinear(host, curves, fit, noise, singular) {
  const { top, counts, beyond, shuffled = [] } = singular ? curves.singular : curves.eigenvalues;
  const law = lawOf(noise, curves.count);
  const width = top / counts.length;
  const place = (value) => (singular ? Math.sqrt(value) : value);
  const chart = frame(host, {
    height: 210, xLabel: singular ? "singular value √λ" : "eigenvalue λ", yLabel: "count",
    title: singular ? "Histogram of the singular values" : "Histogram of the eigenvalues",
    x: { scale: linearScale, domain: [0, 1.02 * Math.max(top, shuffled.length * width, place(noise?.edge || 0))] },
    y: { scale: linearScale, domain: [0, Math.max(...counts, ...shuffled) * 1.08] },
  });
  counts.forEach((count, i) => {
    const [start, end] = [chart.x(i * width), chart.x((i + 1) * width)];
    const inTail = fit && (i + 0.5) * width >= place(fit.xmin);
    const high = count && Math.max(1, chart.bottom - chart.y(count));
    chart.plot.append(shape("rect", { x: start + 0.5, width: Math.max(0.5, end - start - 1), y: chart.bottom - high,
      height: high, class: inTail ? "tail" : "bulk" }));
  });
  if (shuffled.length) drawOutline(chart, shuffled, (i) => i * width);
  if (law) {
    const values = between(place(law.low), place(law.high));
    drawLaw(chart, values.map((value) => [value, curves.count * width *
      (singular ? 2 * value * law.density(value * value) : law.density(value))]));
    drawEdge(chart, place(noise.edge), 0);
    drawSpikes(chart, noise.spikes.map(place).filter((spike) => spike <= top));
  }
  if (beyond) {
    chart.svg.append(shape("text", { x: chart.right - 4, y: chart.top + 11, class: "note", "text-anchor": "end" },
      `${grouped(beyond)} more up to ${significant(place(curves.x[0]))} →`));
  }
}

/* The three figures; call `draw` once they are in the document and again when their width changes. */
function spectrumFigures(curves, noise, tail, get) {
  const fit = fitOf(get);
  const drawn = fit ? [["tail", "tail"], ["bulk", "bulk"], ["fit", "power law"]] : [["bulk", "eigenvalues"]];
  if (fit?.ends) drawn.push(["fan", "its interval"]);
  const [density, densityHost] = figure("Spectral density", legend(...drawn, ...noiseKeys(noise)));
  const drawTail = () => drawCcdf(tailHost, curves, fit, rivals.shown());
  const rivals = rivalChoice(tail, () => drawTail());
  const [ccdf, tailHost] = figure("Tail distribution (CCDF)", legend(...drawn), rivals.node);
  const choice = make("span", { class: "chips", role: "group", "aria-label": "Histogram of" });
  const [linear, linearHost] = figure("Histogram", legend(...drawn.slice(0, 2), ...noiseKeys(noise)), choice);
  let singular = true;
  const drawHistogram = () => drawLinear(linearHost, curves, fit, noise, singular);
  const buttons = [["singular values", true], ["eigenvalues", false]].map(([text, value]) => {
    const button = make("button", { type: "button", "aria-pressed": value === singular }, text);
    button.addEventListener("click", () => {
      singular = value;
      buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
      drawHistogram();
    });
    return button;
  });
  choice.append(...buttons);
  const draw = () => {
    drawDensity(densityHost, curves, fit, noise);
    drawTail();
    drawHistogram();
  };
  return { nodes: [density, ccdf, linear], draw };
}
