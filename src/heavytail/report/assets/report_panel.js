/* The panel of one layer of a report: what was found, its curves, its numbers with their definitions. */

const HEADLINE = new Set(["name", "status", "reason"]);

function reportSections(groups) {
  function headline(row) {
    const get = (column) => value(column, row);
    const phase = get("phase") && phasePill(data.meanings, get("phase"), get("phase_probability"));
    return [layerTitle(get), layerFacts(get, get("kind"), sizeOf(get), get("dtype"), phase), ...exponent(get)];
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

  function figures(row, onDraw) {
    const found = data.curves[row];
    if (!found) return [make("p", { class: "calm" }, "There is no spectrum to draw for this row.")];
    const { nodes, draw } = spectrumFigures(found, data.noise[row], data.tails[row], (column) => value(column, row));
    onDraw(draw);
    return [...nodes.slice(0, 2), ...leftOut(found), nodes[2]];
  }

  function leftOut({ below, count, floor }) {
    if (!below) return [];
    const where = floor > 0 ? `at or below the rounding noise (${significant(floor)})` : "zero";
    const text = `${grouped(below)} of ${grouped(count)} eigenvalues are ${where}: logarithmic axes leave them out.`;
    return [make("p", { class: "caption" }, text)];
  }

  function tail(row, onDraw) {
    if (!data.tails[row]) return [];
    const { nodes, draw } = tailSection(data.tails[row], (column) => value(column, row));
    onDraw(draw);
    return nodes;
  }

  function phase(row) {
    return data.phases[row] ? phaseSection(data.phases[row], data.meanings, (column) => value(column, row)) : [];
  }

  function noise(row) {
    if (!data.noise[row]) return [];
    return noiseSection(data.noise[row], data.vectors[row], (column) => value(column, row), {
      columns: groups.noise, definitions: data.definitions, measures: data.measures, level: data.level, entry,
    });
  }

  function numbers(row) {
    return Object.entries(groups).flatMap(([name, members]) => {
      const known = entries(members.filter((column) => !HEADLINE.has(column)), row);
      if (!known.length || data[{ noise: "noise", phase: "phases" }[name]]?.[row]) return [];
      return [make("h3", {}, name), ...known];
    });
  }

  return [headline, (row) => remarks(row, otherReason(row)), figures, phase, tail, noise, numbers];
}
