/* Rows that stand for layers. One of them may be open: its name is in the address. */

const all = range(0, data.count - 1);
const value = (column, row) => data.columns[column]?.[row] ?? null;
const nameOf = (row) => value("name", row) ?? "";
const link = (row) => "#layer=" + encodeURIComponent(nameOf(row));
const rowOf = new Map(all.map((row) => [nameOf(row), row]).reverse());

/* Open and close layers in table and panel, as the address and the keys say. */
function createLayers({ table, panel, onChange }) {
  let open = null;

  function neighbours(row) {
    const view = table.view();
    const position = view.indexOf(row);
    return position < 0 ? { next: view[0], total: view.length }
      : { previous: view[position - 1], next: view[position + 1], position: position + 1, total: view.length };
  }

  function show(row) {
    open = row;
    panel.open(row, neighbours(row));
    table.select(row);
    onChange();
  }

  function close() {
    const row = open;
    open = null;
    panel.close();
    table.select(null);
    table.focus(row);
    onChange();
    history.replaceState(null, "", "#");
  }

  function go(row) {
    if (location.hash === link(row)) show(row);
    else location.hash = link(row);
  }

  function followAddress() {
    const row = rowOf.get(addressed("layer"));
    if (row !== undefined) show(row);
    else if (open !== null) close();
  }

  function followKeys(event) {
    if (event.key === "Escape" && !tip.hidden) hideTip();
    if (open === null || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === "Escape") return close();
    const upDown = !event.target.closest("#panel");
    const { previous, next } = neighbours(open);
    const target = event.key === "ArrowLeft" || (upDown && event.key === "ArrowUp") ? previous
      : event.key === "ArrowRight" || (upDown && event.key === "ArrowDown") ? next : undefined;
    if (target === undefined) return;
    event.preventDefault();
    location.replace(link(target));
  }

  function follow() {
    followAddress();
    addEventListener("hashchange", followAddress);
    document.addEventListener("keydown", followKeys);
  }

  return { selected: () => open, go, close, follow };
}
