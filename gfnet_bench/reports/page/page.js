"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // What would be most of the page is kept packed until it is wanted.
  function unpacked(packed) {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  }
  const stored = (element) => unpacked(JSON.parse(element.textContent)).json();

  // Tables: headings sort, gaps stay last; a field filters rows by their text; rows are drawn when they are scrolled to.
  const order = new Intl.Collator("en", { numeric: true }), step = 60;
  const tables = new Map();
  async function rowsOf(table) {
    const state = tables.get(table) ?? { rows: [...table.tBodies[0].rows], shown: step, wanted: [""] };
    tables.set(table, state);
    const rest = byId(table.id.replace(/-grid$/, "-rest"));
    state.ready ??= (async () => {
      const made = document.createElement("tbody");
      if (rest) made.innerHTML = (await stored(rest)).map((line) => `<tr>${line}</tr>`).join("");
      state.rows.push(...made.rows);
    })();
    await state.ready;
    return state;
  }
  function lay(table, state) {
    const fits = (row) => state.wanted.every((word) => (row.said ??= row.textContent.toLowerCase()).includes(word));
    const found = state.wanted[0] ? state.rows.filter(fits) : state.rows;
    table.tBodies[0].replaceChildren(...found.slice(0, state.shown));
    state.left = found.length > state.shown;
    return found.length;
  }
  async function more(scroll) {
    if (scroll.scrollTop + scroll.clientHeight < scroll.scrollHeight - 200) return;
    const table = scroll.querySelector("table");
    if (tables.get(table)?.left === false) return;
    const state = await rowsOf(table);
    if (state.rows.length <= state.shown) return;
    state.shown += step;
    lay(table, state);
  }
  function valueOf(cell, isNumber) {
    if (!isNumber) return cell.textContent.trim();
    const value = parseFloat(cell.dataset.v ?? cell.textContent.replace("\u2212", "-"));
    return Number.isNaN(value) ? null : value;
  }
  async function sort(heading) {
    const table = heading.closest("table"), isNumber = heading.classList.contains("n");
    const first = isNumber ? "descending" : "ascending";
    const second = isNumber ? "ascending" : "descending";
    const direction = heading.getAttribute("aria-sort") === first ? second : first;
    for (const other of all("thead th", table)) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1, column = heading.cellIndex, state = await rowsOf(table);
    const rows = state.rows.map((row) => [valueOf(row.cells[column], isNumber), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (isNumber ? a - b : order.compare(a, b));
    });
    state.rows = rows.map(([, row]) => row);
    lay(table, state);
    table.dataset.sorted = `${column} ${direction}`;
  }
  async function filter(field) {
    const table = byId(field.dataset.filters), state = await rowsOf(table);
    state.wanted = field.value.trim().toLowerCase().split(/\s+/);
    state.shown = step;
    const shown = lay(table, state), count = document.querySelector(`[data-counts="${table.id}"]`);
    count.textContent = shown === state.rows.length ? `${shown} rows` : `${shown} of ${state.rows.length} rows`;
  }
  for (const button of all("thead button")) button.addEventListener("click", () => sort(button.closest("th")));
  for (const field of all("[data-filters]")) field.addEventListener("input", () => filter(field));
  for (const scroll of all(".scroll")) scroll.addEventListener("scroll", () => more(scroll), { passive: true });

  // Figures: the saved picture is the one that is shown.
  for (const link of all("a[data-image]")) link.href = link.closest("figure").querySelector("img").src;

  // Files are kept packed until they are wanted.
  async function save({ packed, kind, file }) {
    const link = document.createElement("a");
    link.download = file;
    link.href = URL.createObjectURL(new Blob([await unpacked(packed).arrayBuffer()], { type: kind }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
  for (const button of all("[data-packed]")) button.addEventListener("click", () => save(button.dataset));

  // Records: the list is drawn group by group, an entry when it is opened.
  const entries = new Map();
  function entry(id, focus) {
    const made = document.createElement("div");
    made.className = "entry";
    if (focus) Object.assign(made, { id, tabIndex: -1 });
    made.innerHTML = entries.get(id).body;
    return made;
  }
  function folded(head, name, fill) {
    const made = document.createElement("details");
    made.className = name;
    made.innerHTML = `<summary>${head}</summary>`;
    made.fill = () => { if (made.children.length === 1) made.append(...fill()); };
    made.addEventListener("toggle", () => { if (made.open) made.fill(); });
    return made;
  }
  async function list() {
    const source = byId("records-packed");
    if (!source) return;
    const drawn = [];
    for (const [head, those] of await stored(source)) {
      const group = folded(head, "group", () => those.map(([id]) => entries.get(id).place));
      for (const [id, line, body] of those) {
        const one = { group, body };
        Object.defineProperty(one, "place", {
          get() { return (one.line ??= folded(line, "", () => [entry(id, true)])); },
        });
        entries.set(id, one);
      }
      drawn.push(group);
    }
    source.after(...drawn);
    document.documentElement.dataset.listed = "yes";
  }
  function place(id) {
    const { group, place: line } = entries.get(id);
    group.fill();
    line.fill();
  }

  // Provenance: a number opens what it was drawn from, without leaving its place.
  const dialog = byId("provenance"), shown = byId("shown"), back = byId("back"), there = byId("there");
  let trail = [];
  function show(id) {
    shown.replaceChildren(entry(id));
    there.href = `#${id}`;
    back.hidden = trail.length < 2;
    dialog.scrollTop = 0;
    if (!dialog.open) dialog.showModal();
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#record-"], a[href^="#from-"], a[href^="#environment-"]');
    if (!link || link === there || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const id = link.hash.slice(1);
    if (!entries.has(id) || (link.closest("#records") && !dialog.open)) return;
    event.preventDefault();
    trail = dialog.open ? [...trail, id] : [id];
    show(id);
  });
  back.addEventListener("click", () => { trail.pop(); show(trail.at(-1)); });
  byId("close").addEventListener("click", () => dialog.close());
  there.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  function reveal() {
    const id = decodeURIComponent(location.hash.slice(1));
    if (entries.has(id)) place(id);
    const target = id && byId(id);
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    const inside = target.querySelector(":scope > details");
    if (inside && target.classList.contains("table")) inside.open = true;
    target.scrollIntoView();
    target.focus?.({ preventScroll: true });
  }
  addEventListener("hashchange", reveal);

  // Plots take the colours of the page.
  const panels = new Map();
  function paint() {
    const style = getComputedStyle(document.documentElement);
    const [text, quiet, line] = ["--text", "--quiet", "--line"].map((name) => style.getPropertyValue(name).trim());
    const colours = {
      Title: { text_color: text },
      LabelSet: { text_color: text },
      Legend: { label_text_color: text },
      Grid: { grid_line_color: line },
    };
    const axis = { axis_label_text_color: quiet, major_label_text_color: quiet, axis_line_color: quiet, major_tick_line_color: quiet };
    for (const view of panels.values()) {
      for (const model of view.model.document._all_models.values()) {
        if (model.type.endsWith("Axis")) model.setv(axis);
        else if (model.type in colours) model.setv(colours[model.type]);
      }
    }
  }
  async function draw() {
    const library = document.createElement("script");
    library.textContent = await stored(byId("bokeh"));
    document.head.append(library);
    Bokeh.logger?.set_level?.("warn");
    for (const place of all("[data-plot]")) {
      const item = await stored(byId(place.dataset.plot));
      const views = await Bokeh.embed.embed_item(item, place);
      panels.set(place.dataset.plot, views.roots ? views.roots[0] : [...views][0]);
    }
    paint();
    document.documentElement.dataset.drawn = "yes";
  }
  function choose(menu) {
    for (const [name, view] of panels) {
      if (!name.startsWith(`${menu.dataset.chooses}-`)) continue;
      for (const model of view.model.document._all_models.values()) {
        if (model.tags.includes("chosen")) model.axis_label = menu.value;
        if (model.type !== "ColumnDataSource") continue;
        const chosen = Object.keys(model.data).filter((key) => key.endsWith(`@${menu.value}`));
        const columns = chosen.map((key) => [key.split("@")[0], model.data[key]]);
        if (columns.length) model.data = { ...model.data, ...Object.fromEntries(columns) };
      }
    }
  }
  for (const menu of all("[data-chooses]")) menu.addEventListener("change", () => choose(menu));

  // Light or dark: as the system says, until the button says otherwise.
  const dark = matchMedia("(prefers-color-scheme: dark)"), button = byId("theme");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  function themed() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
    paint();
  }
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    themed();
  });
  dark.addEventListener("change", themed);
  let chosen;  // paper is white
  addEventListener("beforeprint", () => {
    chosen = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    paint();
  });
  addEventListener("afterprint", () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    paint();
  });

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest?.("[data-copies]");
    if (!copy) return;
    const source = byId(copy.dataset.copies) ?? copy.previousElementSibling, said = copy.nextElementSibling;
    try {
      await navigator.clipboard.writeText(source.textContent);
      said.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      said.textContent = "Selected: copy it with your keyboard";
    }
  });

  if (matchMedia("(max-width: 69.99rem)").matches) all("nav details").forEach((details) => { details.open = false; });
  themed();
  reveal();
  list().then(() => { if (entries.has(decodeURIComponent(location.hash.slice(1)))) reveal(); });
  if (byId("bokeh")) draw();
})();
