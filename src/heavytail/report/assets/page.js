/* What every page begins with: its data, light and dark, charts as wide as their place. */

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function buildTheme() {
  const button = byId("theme");
  const root = document.documentElement;
  const preference = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : preference.matches);
  const label = () => { button.textContent = isDark() ? "light" : "dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  preference.addEventListener("change", label);
  label();
}

/* Draw again when the host has another width. */
function watchWidth(host, draw) {
  let width = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth === width) return;
    width = host.clientWidth;
    draw();
  }).observe(host);
}

/* The name that the address holds of a key, if any; typed by hand, a percent sign in it may encode nothing. */
function addressed(key) {
  const start = `#${key}=`;
  if (!location.hash.startsWith(start)) return null;
  const text = location.hash.slice(start.length);
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

buildTheme();
watchTips();
