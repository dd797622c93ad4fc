"use strict";
// The page is whole without this: it only hides what does not fit the three choices.
const form = document.querySelector(".filter");
const fits = (asked, is) => !asked || is === undefined || asked === is;

function apply() {
  const asked = Object.fromEntries(new FormData(form));
  const any = Object.values(asked).some(Boolean);
  const shown = new Set(["0"]);
  for (const part of document.querySelectorAll("details[data-component]")) {
    const names = new Set([...part.querySelectorAll("[data-metric]")].map((e) => e.dataset.metric));
    let rows = 0;
    for (const row of part.querySelectorAll("tr[data-verdict]")) {
      const { verdict, metric } = row.dataset;
      row.hidden = !(fits(asked.verdict, verdict) && fits(asked.metric, metric));
      rows += !row.hidden;
    }
    for (const table of part.querySelectorAll(".cases")) {
      const heads = [...table.tHead.rows[0].cells];
      heads.forEach((head, i) => {
        const hide = !fits(asked.metric, head.dataset.metric);
        head.hidden = hide;
        for (const row of table.tBodies[0].rows) row.cells[i].hidden = hide;
      });
      if (table.tFoot) table.tFoot.hidden = Boolean(asked.metric);
    }
    const { component, verdict } = part.dataset;
    part.hidden = !(fits(asked.component, component) && (!asked.metric || names.has(asked.metric))
      && (fits(asked.verdict, verdict) || rows > 0));
    if (any && !part.hidden) [part, ...part.querySelectorAll("details")].forEach((e) => (e.open = true));
    if (!part.hidden) shown.add(part.dataset.of);
  }
  for (const item of document.querySelectorAll("li[data-of]")) item.hidden = !shown.has(item.dataset.of);
  form.querySelector("output").textContent = any ? `${shown.size - 1} shown` : "";
}

form.addEventListener("change", apply);
form.hidden = false;
