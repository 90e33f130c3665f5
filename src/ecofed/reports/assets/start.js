// Last of the scripts: what is on this page comes alive.
document.querySelectorAll("table.sortable").forEach(sortable);
const told = JSON.parse(document.getElementById("figures").textContent);
const CHARTS = { lines: Lines, frontier: Frontier, timelines: Timelines };
document.querySelectorAll("[data-chart]").forEach((host) => {
  const data = told[host.dataset.chart];
  if (!data) return;
  host.hidden = false;
  document.documentElement.classList.add(`live-${host.dataset.chart}`);
  new CHARTS[host.dataset.chart](host, data);
});

// A page that renews itself stays where it was being read.
if (document.querySelector("meta[http-equiv=refresh]")) {
  scrollTo(0, kept.read("scroll", 0));
  addEventListener("pagehide", () => kept.write("scroll", scrollY));
}
