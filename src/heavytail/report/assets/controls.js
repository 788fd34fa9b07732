/* What chooses the rows and the columns of the table. */

function chip(host, type, name, content, checked, onChange) {
  const input = make("input", { type, name, value: content });
  input.checked = checked;
  input.addEventListener("change", () => onChange(input.checked));
  host.append(make("label", {}, input, make("span", {}, content)));
  return input;
}

const withStatus = (...statuses) =>
  Object.fromEntries(statuses.map((status) => [status, (row) => value("status", row) === status]));

/* A chip for each status that rows have, with their number; the matrices are chosen at first. */
function buildStatuses(statuses, onChoose) {
  for (const [status, holds] of Object.entries(statuses)) {
    const count = all.filter(holds).length;
    if (!count && status !== "matrices") continue;
    const input = chip(byId("status"), "radio", "status", status, status === "matrices", () => onChoose(status));
    input.nextSibling.append(make("small", {}, grouped(count)));
  }
}

/* A chip for the key columns, which are chosen at first, and one for each group of columns. */
function buildGroups(groups, columns, onChange) {
  chip(byId("groups"), "checkbox", "group", "key columns", true, (on) => {
    columns.key = on;
    onChange();
  });
  for (const group of groups) {
    chip(byId("groups"), "checkbox", "group", group, false, (on) => {
      columns.groups[on ? "add" : "delete"](group);
      onChange();
    });
  }
}

/* Each button adds its rows to those that are shown; none pressed shows all. */
function watchPressed(buttons, chosen, onChange) {
  buttons.forEach((button) => button.addEventListener("click", () => {
    if (button.hasAttribute("aria-disabled")) return;
    if (!chosen.delete(button.value)) chosen.add(button.value);
    button.setAttribute("aria-pressed", chosen.has(button.value));
    onChange();
  }));
}

function watchSearch(onInput) {
  byId("search").addEventListener("input", (event) => onInput(event.target.value));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
}

/* Whether a row says every word that was typed. */
function saysAll(typed, said) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => words.every((word) => said(row).toLowerCase().includes(word));
}

function showRows(table, view) {
  table.setView(view);
  const part = view.length < data.count ? `${grouped(view.length)} of ` : "";
  byId("shown").textContent = `${part}${grouped(data.count)} rows`;
}
