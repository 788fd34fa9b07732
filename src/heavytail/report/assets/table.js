/* The table: sorted, filtered, and drawn only where it is looked at. */

const ROW = 28;
const SPARE = 30;
const PILLS = new Set(["status", "warning", "tail"]);

function createTable(scroller, { columns, groups, definitions, meanings, value, texts, link, onOpen }) {
  const state = { view: [], shown: [], sort: null, falling: false, selected: null };
  const group = make("tr", { class: "groups" });
  const head = make("tr");
  const body = make("tbody");
  const widths = make("colgroup");
  const table = make("table", { "aria-labelledby": "table-title" }, widths, make("thead", {}, group, head), body);
  scroller.replaceChildren(table);
  let [first, last, drawn] = [0, -1, false];

  function widest(column) {
    let longest = column.length * 0.88 + 1;
    for (const row of state.view) longest = Math.max(longest, show(column, value(column, row)).length);
    if (column === "phase") longest += 7;  // for its dot and its probability
    return Math.min(longest, column === "name" ? 40 : column === "reason" ? 48 : 24);
  }

  function header(column) {
    const button = make("button", { type: "button", "data-tip": definitions[column] }, column);
    const cell = make("th", { scope: "col", "data-column": column, class: texts.has(column) ? "text" : "number",
      "aria-sort": state.sort === column ? (state.falling ? "descending" : "ascending") : "none" }, button);
    button.addEventListener("click", () => sortBy(column));
    return cell;
  }

  function drawHead() {
    const focused = document.activeElement?.closest?.("th")?.dataset.column;
    const sizes = state.shown.map((column) =>
      (column === "name" ? `min(${widest(column) * 7.4 + 24}px, 46vw)` : `(${widest(column)}ch + 20px)`));
    widths.replaceChildren(...sizes.map((size) => {
      const col = make("col");
      col.style.width = `calc(${size})`;
      return col;
    }));
    table.style.width = `calc(${sizes.join(" + ")})`;
    group.replaceChildren(...Object.entries(groups).flatMap(([name, members]) => {
      const span = state.shown.filter((column) => members.includes(column)).length;
      if (name !== "identity") return span ? [make("th", { colspan: span, scope: "colgroup" }, name)] : [];
      const rest = span > 1 ? [make("th", { colspan: span - 1, scope: "colgroup" }, name)] : [];
      return [make("th", { scope: "colgroup" }), ...rest];
    }));
    head.replaceChildren(...state.shown.map(header));
    table.setAttribute("aria-colcount", state.shown.length);
    table.setAttribute("aria-rowcount", state.view.length + 2);
    if (focused) head.querySelector(`[data-column="${focused}"] button`)?.focus({ preventScroll: true });
  }

  function cell(column, row) {
    const content = value(column, row);
    if (column === "name") {
      const anchor = make("a", { href: link(row), title: content }, make("bdi", { dir: "ltr" }, content));
      return make("th", { scope: "row" }, anchor);
    }
    if (content === null || content === "") {
      return make("td", { class: (texts.has(column) ? "text" : "number") + " none" }, "–");
    }
    const text = show(column, content);
    if (!texts.has(column)) return make("td", { class: "number" }, text);
    if (column === "phase") {
      return make("td", { class: "text" }, phasePill(meanings, content, value("phase_probability", row)));
    }
    if (!PILLS.has(column)) return make("td", { class: "text", title: column === "reason" ? content : null }, text);
    const hue = `pill ${column} ${content.replace(/[^a-z-]/gi, "")}`;
    return make("td", { class: "text" }, make("span", { class: hue }, text));
  }

  function line(position) {
    const row = state.view[position];
    const chosen = row === state.selected ? "selected" : null;
    return make("tr", { "data-row": row, "aria-rowindex": position + 3, class: chosen },
      ...state.shown.map((column) => cell(column, row)));
  }

  const spacer = (rows) => {
    const gap = make("tr", { "aria-hidden": "true", class: "gap" });
    gap.style.height = `${rows * ROW}px`;
    return gap;
  };

  function drawBody(everything = false) {
    const top = Math.floor(scroller.scrollTop / ROW);
    const bottom = Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW);
    if (drawn && !everything && top >= first && Math.min(bottom, state.view.length) <= last + 1) return;
    first = everything ? 0 : Math.max(0, top - SPARE);
    last = everything ? state.view.length - 1 : Math.min(state.view.length - 1, bottom + SPARE);
    drawn = true;
    const focused = document.activeElement?.closest?.("tr")?.dataset.row;
    const lines = range(first, last).map(line);
    body.replaceChildren(...(first > 0 ? [spacer(first)] : []), ...lines,
      ...(last < state.view.length - 1 ? [spacer(state.view.length - 1 - last)] : []));
    if (!state.view.length) {
      body.append(make("tr", {}, make("td", { colspan: state.shown.length, class: "nothing" }, "No row matches.")));
    }
    if (focused !== undefined) body.querySelector(`[data-row="${focused}"] a`)?.focus({ preventScroll: true });
  }

  function redraw() {
    drawn = false;
    drawHead();
    drawBody();
  }

  function order() {
    if (state.sort === null) {
      state.view.sort((a, b) => a - b);
      return;
    }
    const sign = state.falling ? -1 : 1;
    const rank = (row) => {
      const content = value(state.sort, row);
      return state.sort === "phase" && content in meanings ? Object.keys(meanings).indexOf(content) : content;
    };
    const missing = (content) => content === null || content === "";
    state.view.sort((a, b) => {
      const [x, y] = [rank(a), rank(b)];
      if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b;
      const difference = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
      return sign * difference || a - b;
    });
  }

  /* Numbers rise, fall, then return to the order of the model. */
  function sortBy(column) {
    if (state.sort !== column) [state.sort, state.falling] = [column, false];
    else if (!state.falling) state.falling = true;
    else [state.sort, state.falling] = [null, false];
    order();
    scroller.scrollTop = 0;
    redraw();
  }

  scroller.addEventListener("scroll", () => requestAnimationFrame(() => drawBody()), { passive: true });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr")?.dataset.row;
    if (row === undefined || event.target.closest("a")) return;
    onOpen(Number(row));
  });
  addEventListener("resize", () => drawBody());
  addEventListener("beforeprint", () => drawBody(true));
  addEventListener("afterprint", () => { drawn = false; drawBody(); });

  return {
    view: () => state.view,
    setView(rows) {
      state.view = [...rows];
      order();
      redraw();
    },
    setColumns(shown) {
      state.shown = shown.filter((column) => columns.includes(column));
      redraw();
    },
    select(row) {
      state.selected = row;
      const position = state.view.indexOf(row);
      if (position >= 0) {
        const [top, visible] = [position * ROW, scroller.clientHeight - 3 * ROW];
        if (top < scroller.scrollTop || top > scroller.scrollTop + visible) scroller.scrollTop = top - visible / 2;
      }
      drawn = false;
      drawBody();
    },
    focus: (row) => body.querySelector(`[data-row="${row}"] a`)?.focus({ preventScroll: true }),
  };
}
