"use strict";
// Sorting by a column: within each group of lines, a second time the other way round, lines without a value last.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.children[head.cellIndex].dataset.order;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const [p, q] = [Number(x), Number(y)];
      const order = Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q;
      return down ? -order : order;
    };
    for (const body of head.closest("table").tBodies) {
      const rows = [...body.rows].filter((row) => row.className !== "heading");
      body.append(...rows.sort(compare));
    }
  });
}
// Searching: lines that hold all the words.
for (const input of document.querySelectorAll(".filter input")) {
  const grid = input.closest(".grid");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let found = 0, all = 0;
    for (const row of grid.querySelectorAll("tbody tr:not(.heading)")) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      found += !row.hidden;
      all += 1;
    }
    grid.querySelector(".found").textContent = input.value ? `${found} of ${all} lines` : "";
  });
}
