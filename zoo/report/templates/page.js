"use strict";
// Sorting, hiding and switching. The page shows everything without it.
const root = document.documentElement;

document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      // Numbers start with the largest, names with A.
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.value;
      const numeric = [...body.rows].every((row) => key(row) === "nan" || !Number.isNaN(Number(key(row))));
      const now = heading.getAttribute("aria-sort");
      const next = now === "none" ? (numeric ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => {
        if (!numeric) return sign * key(a).localeCompare(key(b));
        const [x, y] = [Number(key(a)), Number(key(b))];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return sign * (x - y);
      });
      body.append(...rows);
    });
  });
}

for (const problem of document.querySelectorAll(".problem")) {
  for (const key of problem.querySelectorAll(".key")) {
    key.addEventListener("click", () => {
      const shown = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", String(shown));
      for (const mark of problem.querySelectorAll(".s" + key.dataset.series)) {
        mark.classList.toggle("hidden", !shown);
      }
    });
  }
  for (const tabs of problem.querySelectorAll("[data-tabs]")) {
    for (const tab of tabs.querySelectorAll("button")) {
      tab.addEventListener("click", () => {
        for (const other of tabs.querySelectorAll("button")) {
          other.setAttribute("aria-pressed", String(other === tab));
          problem.querySelector(`[data-panel="${other.dataset.tab}"]`).hidden = other !== tab;
        }
      });
    }
  }
}
