/* The panel of one layer: how it opens and closes, and what it says on every page. */

function createPanel(host, { sections, onClose }) {
  let drawings = [];
  let width = 0;
  const draw = () => drawings.forEach((drawing) => drawing());

  const step = (text, row, label) => {
    if (row === undefined) return make("span", { class: "step off", "aria-hidden": "true" }, text);
    const node = make("a", { class: "step", href: link(row), "aria-label": `${label} layer` }, text);
    node.addEventListener("click", (event) => {
      event.preventDefault();
      location.replace(link(row));
    });
    return node;
  };

  function bar({ previous, next, position, total }) {
    const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", onClose);
    return make("div", { class: "bar" }, step("‹", previous, "Previous"), step("›", next, "Next"),
      make("span", { class: "place" }, position ? `${position} of ${total}` : "not in the filtered table"), close);
  }

  new ResizeObserver(() => {
    if (host.hidden || host.clientWidth === width) return;
    width = host.clientWidth;
    draw();
  }).observe(host);

  return {
    /* Each section gives nodes, and says how to draw in them once they are in the panel. */
    open(row, neighbours) {
      drawings = [];
      const fresh = host.hidden;
      host.hidden = false;
      document.body.classList.add("open");
      const onDraw = (drawing) => drawings.push(drawing);
      host.replaceChildren(bar(neighbours), ...sections.flatMap((section) => section(row, onDraw)));
      host.setAttribute("aria-label", `Layer ${value("name", row)}`);
      host.scrollTop = 0;
      width = host.clientWidth;
      draw();
      if (fresh) host.focus({ preventScroll: true });
    },
    close() {
      host.hidden = true;
      document.body.classList.remove("open");
    },
  };
}

const layerTitle = (get) => make("h2", {}, make("bdi", { dir: "ltr" }, get("name")));

function sizeOf(get) {
  const pooled = get("num_matrices") > 1 ? ` × ${show("num_matrices", get("num_matrices"))}` : "";
  return get("N") === null ? null : `${show("N", get("N"))} × ${show("M", get("M"))}${pooled}`;
}

const layerFacts = (get, ...facts) => make("p", { class: "facts" },
  make("span", { class: `pill status ${get("status")}` }, get("status")),
  ...facts.filter(Boolean).map((fact) => make("span", {}, fact)));

/* What was found of a layer, and the reason of its status where no finding tells it. */
function remarks(row, reason) {
  const said = data.findings[row] || [];
  const notes = said.map(([severity, sentence]) =>
    make("li", { class: severity }, make("span", { class: "severity" }, severity), make("p", {}, sentence)));
  if (reason && !said.some(([, sentence]) => sentence.includes(reason))) notes.push(make("li", {}, make("p", {}, reason)));
  return notes.length ? [make("ul", { class: "remarks" }, ...notes)] : [];
}

const entry = (name, number, meaning) => make("div", {}, make("dt", {}, name),
  make("dd", {}, make("b", {}, number), make("small", {}, meaning)));

/* The numbers of a row with what they mean; nothing where it has none. */
function entries(columns, row) {
  const known = columns.filter((column) => ![null, ""].includes(value(column, row)));
  return known.length ? [make("dl", {}, ...known.map((column) =>
    entry(column, show(column, value(column, row)), data.definitions[column])))] : [];
}
