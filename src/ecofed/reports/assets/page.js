// The page's own behaviour. Without scripts everything stands there as it is; this only adds to it.
"use strict";

/** A new element: attributes, then text (never markup: names come from devices and data). */
function make(tag, attributes = {}, parent = null, text = null, space = null) {
  const made = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

/** What was chosen is kept while a page renews itself; where a browser keeps nothing, nothing is lost. */
const kept = {
  read(name, otherwise) {
    try {
      return JSON.parse(sessionStorage.getItem(location.pathname + name)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  write(name, value) {
    try {
      sessionStorage.setItem(location.pathname + name, JSON.stringify(value));
    } catch {
      // private windows
    }
  },
};

/** Sort a table's rows by a click on a heading: first the best way round for numbers, then the other. */
function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort" }, null, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const rows = [...body.rows];
      const numbers = rows.every((row) => key(row, column) === "" || !Number.isNaN(Number(key(row, column))));
      const first = column === 0 || !numbers || /accuracy|images/.test(head.textContent) === false ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      const way = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      rows.sort((one, two) => {
        const [a, b] = [key(one, column), key(two, column)];
        if (a === "" || b === "") return (a === "") - (b === ""); // what is not known stays below
        return sign * (numbers ? Number(a) - Number(b) : a.localeCompare(b));
      });
      body.append(...rows);
    });
  });
}
