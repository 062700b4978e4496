"use strict";
// Tables sort by a click or a key on a heading. Without this script the page only does not sort.
(function () {
  const announcer = document.getElementById("announcer");
  function valueOf(row, column) {
    const cell = row.cells[column];
    const figure = cell ? cell.querySelector("data") : null;
    if (figure) return Number(figure.value);
    const text = cell ? cell.textContent.trim() : "";
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  }
  function compare(a, b) {
    const areNumbers = typeof a === "number" && typeof b === "number";
    if (areNumbers) return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b);
  }
  function sort(table, heading) {
    const column = heading.cellIndex;
    const isUp = heading.getAttribute("aria-sort") === "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row, place) => ({ row, place, value: valueOf(row, column) }));
    rows.sort((a, b) => {
      if ((typeof a.value === "number") !== (typeof b.value === "number")) return compare(a.value, b.value);
      return (isUp ? 1 : -1) * compare(a.value, b.value) || a.place - b.place;
    });
    body.append(...rows.map((one) => one.row));
    announcer.textContent = table.caption.textContent + ": sorted by " + heading.textContent + ", " +
      (isUp ? "ascending" : "descending");
  }
  // A table that fits needs no stop of the keyboard on its way through the page.
  function setStops() {
    for (const group of document.querySelectorAll(".scroll")) {
      if (group.scrollWidth > group.clientWidth) group.setAttribute("tabindex", "0");
      else group.removeAttribute("tabindex");
    }
  }
  setStops();
  window.addEventListener("resize", setStops);
  document.addEventListener("toggle", setStops, true);
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
  }
})();
