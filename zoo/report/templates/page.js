"use strict";
// Sorting, hiding, light and dark, charts as files. The page shows everything without it.
const root = document.documentElement;
root.classList.add("js");

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
}

// A hint above each table that is wider than its frame.
const frames = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    target.parentElement.classList.toggle("overflows", target.scrollWidth > target.clientWidth + 1);
  }
});
for (const frame of document.querySelectorAll(".wide > .scroll")) frames.observe(frame);

// What is folded is printed, too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const fold of folded) fold.open = true;
});
addEventListener("afterprint", () => folded.forEach((fold) => { fold.open = false; }));

const STYLES = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "opacity",
  "font-family", "font-size", "text-anchor",
];

function element(svg, name, attributes, text = "") {
  const made = document.createElementNS(svg.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// Return a chart as an SVG that needs no style sheet: light colours, with a title and the names of the networks.
function standalone(svg, title) {
  const theme = root.dataset.theme;
  root.dataset.theme = "light";
  const copy = svg.cloneNode(true);
  const copies = [...copy.querySelectorAll("*")];
  [...svg.querySelectorAll("*")].forEach((mark, index) => {
    const style = getComputedStyle(mark);
    if (style.display === "none") return copies[index].remove();
    for (const name of STYLES) copies[index].setAttribute(name, style.getPropertyValue(name));
    copies[index].removeAttribute("class");
  });
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const font = { "font-family": getComputedStyle(document.body).fontFamily, "font-size": 12, fill: "#1b1d22" };
  const keys = [...svg.closest(".problem").querySelectorAll(".key[aria-pressed=true]")].filter(
    (key) => svg.querySelector(`.s${key.dataset.series}`),
  );
  const whole = height + 30 + 18 * keys.length;
  copy.setAttribute("viewBox", `0 -26 ${width} ${whole}`);
  copy.setAttribute("width", width);
  copy.setAttribute("height", whole);
  copy.prepend(element(copy, "rect", { x: 0, y: -26, width, height: whole, fill: "#ffffff" }));
  copy.append(element(copy, "text", { x: 8, y: -10, ...font, "font-weight": 600 }, title));
  keys.forEach((key, row) => {
    const y = height + 6 + 18 * row;
    const fill = getComputedStyle(key.querySelector(".swatch")).backgroundColor;
    copy.append(element(copy, "rect", { x: 16, y, width: 11, height: 11, rx: 3, fill }));
    copy.append(element(copy, "text", { x: 34, y: y + 10, ...font }, key.textContent));
  });
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  const source = new XMLSerializer().serializeToString(copy);
  return { address: "data:image/svg+xml;charset=utf-8," + encodeURIComponent(source), width, height: whole };
}

function save(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}

const RESOLUTION = 3;
const FORMATS = {
  SVG: async (drawn) => drawn.address,
  PNG: async (drawn) => {
    const image = new Image();
    image.src = drawn.address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = RESOLUTION * drawn.width;
    canvas.height = RESOLUTION * drawn.height;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/png");
  },
};

for (const figure of document.querySelectorAll("figure[data-file]")) {
  const { file, title } = figure.dataset;
  for (const [format, address] of Object.entries(FORMATS)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = format;
    button.setAttribute("aria-label", `${title} as ${format}`);
    button.addEventListener("click", async () => {
      const shown = [...figure.querySelectorAll("svg")].find((svg) => svg.checkVisibility());
      save(await address(standalone(shown, title)), `${file}.${format.toLowerCase()}`);
    });
    figure.querySelector(".files").append(button);
  }
}
