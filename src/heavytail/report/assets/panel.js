/* The panel of one layer: what was found, its curves, its numbers with their definitions. */

const HEADLINE = new Set(["name", "status", "reason"]);

function createPanel(host, { data, groups, value, neighbours, link, onClose }) {
  const { definitions, findings } = data;
  let drawings = [];
  const draw = () => drawings.forEach((drawing) => drawing());

  const step = (text, row, label) => {
    const node = row === undefined ? make("span", { class: "step off", "aria-hidden": "true" }, text)
      : make("a", { class: "step", href: link(row), "aria-label": `${label} layer` }, text);
    node.addEventListener("click", (event) => {
      event.preventDefault();
      if (row !== undefined) location.replace(link(row));
    });
    return node;
  };

  function bar(row) {
    const { previous, next, position, total } = neighbours(row);
    const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", onClose);
    return make("div", { class: "bar" }, step("‹", previous, "Previous"), step("›", next, "Next"),
      make("span", { class: "place" }, position ? `${position} of ${total}` : "not in the filtered table"), close);
  }

  function headline(row) {
    const get = (column) => value(column, row);
    const pooled = get("num_matrices") > 1 ? ` × ${show("num_matrices", get("num_matrices"))}` : "";
    const size = get("N") === null ? null : `${show("N", get("N"))} × ${show("M", get("M"))}${pooled}`;
    const facts = [get("kind"), size, get("dtype")].filter(Boolean).map((fact) => make("span", {}, fact));
    const status = make("span", { class: `pill status ${get("status")}` }, get("status"));
    if (get("phase")) facts.push(make("span", {}, phasePill(data.meanings, get("phase"), get("phase_probability"))));
    return [make("h2", {}, make("bdi", { dir: "ltr" }, get("name"))),
      make("p", { class: "facts" }, status, ...facts), ...exponent(get)];
  }

  function exponent(get) {
    if (get("alpha") === null) return [];
    const [tail, count] = ["num_pl_spikes", "num_evals"].map((column) => show(column, get(column)));
    const ends = [get("alpha_lo"), get("alpha_hi")];
    const number = ` = ${withInterval(get("alpha"), ...ends)} `;
    return [make("p", { class: "alpha" }, make("span", { class: "math" }, "α"), number,
      make("small", {}, `${ends[0] === null ? "" : "95 % interval; "}${tail} of ${count} eigenvalues in the tail`))];
  }

  /* The reason without the parts that the sections on noise and phase tell. */
  function otherReason(row) {
    const told = [data.noise[row]?.reason, data.phases[row]?.reason];
    const without = (reason, part) => (part && reason.endsWith(part) ? reason.slice(0, -part.length).replace(/; $/, "") : reason);
    return told.reduce(without, value("reason", row) || "");
  }

  function remarks(row) {
    const said = findings[row] || [];
    const reason = otherReason(row);
    const notes = said.map(([severity, sentence]) =>
      make("li", { class: severity }, make("span", { class: "severity" }, severity), make("p", {}, sentence)));
    const told = said.some(([, sentence]) => sentence.includes(reason));
    if (reason && !told) notes.push(make("li", {}, make("p", {}, reason)));
    return notes.length ? [make("ul", { class: "remarks" }, ...notes)] : [];
  }

  function figures(row) {
    const found = data.curves[row];
    if (!found) return [make("p", { class: "calm" }, "There is no spectrum to draw for this row.")];
    const { nodes, draw: drawing } = spectrumFigures(found, data.noise[row], data.tails[row],
      (column) => value(column, row));
    drawings.push(drawing);
    return [...nodes.slice(0, 2), ...leftOut(found), nodes[2]];
  }

  function leftOut({ below, count, floor }) {
    if (!below) return [];
    const where = floor > 0 ? `at or below the rounding noise (${significant(floor)})` : "zero";
    const text = `${grouped(below)} of ${grouped(count)} eigenvalues are ${where}: logarithmic axes leave them out.`;
    return [make("p", { class: "caption" }, text)];
  }

  const entry = (name, number, meaning) => make("div", {}, make("dt", {}, name),
    make("dd", {}, make("b", {}, number), make("small", {}, meaning)));

  function tail(row) {
    if (!data.tails[row]) return [];
    const { nodes, draw: drawing } = tailSection(data.tails[row], (column) => value(column, row));
    drawings.push(drawing);
    return nodes;
  }

  function phase(row) {
    return data.phases[row] ? phaseSection(data.phases[row], data.meanings, (column) => value(column, row)) : [];
  }

  function noise(row) {
    if (!data.noise[row]) return [];
    return noiseSection(data.noise[row], data.vectors[row], (column) => value(column, row), {
      columns: groups.noise, definitions, measures: data.measures, level: data.level, entry,
    });
  }

  function numbers(row) {
    return Object.entries(groups).flatMap(([name, members]) => {
      const known = members.filter((column) => !HEADLINE.has(column) && ![null, ""].includes(value(column, row)));
      if (!known.length || data[{ noise: "noise", phase: "phases" }[name]]?.[row]) return [];
      return [make("h3", {}, name),
        make("dl", {}, ...known.map((column) => entry(column, show(column, value(column, row)), definitions[column])))];
    });
  }

  let seen = 0;
  new ResizeObserver(() => {
    if (host.hidden || host.clientWidth === seen) return;
    seen = host.clientWidth;
    draw();
  }).observe(host);

  return {
    open(row) {
      drawings = [];
      const fresh = host.hidden;
      host.hidden = false;
      document.body.classList.add("open");
      const found = [headline, remarks, figures, phase, tail, noise, numbers].flatMap((part) => part(row));
      host.replaceChildren(bar(row), ...found);
      host.setAttribute("aria-label", `Layer ${value("name", row)}`);
      host.scrollTop = 0;
      seen = host.clientWidth;
      draw();
      if (fresh) host.focus({ preventScroll: true });
    },
    close() {
      host.hidden = true;
      document.body.classList.remove("open");
    },
  };
}
