// The page: it sends what a person does, and draws what comes back, with textContent alone.
const made = (name, text, kind, parts = []) => { const e = document.createElement(name); if (text !== undefined && text !== null) e.textContent = text; if (kind) e.className = kind; e.append(...parts); return e; };
const whole = (x) => x.toLocaleString("en");
const percent = (x) => (100 * x).toFixed(x < 0.0995 ? 1 : 0) + " %";

export function render({ model, el }) {
  const send = (kind, more = {}) => model.send_msg({ kind, ...more });
  const space = model.space, parts = { answer: {}, changes: {}, bounds: [], cloud: {}, study: {} }, root = made("div", null, "explore");
  const button = (text, act, kind) => { const b = made("button", text, kind); b.type = "button"; b.addEventListener("click", act); return b; };
  const choice = (label, options) => { const s = made("select"); s.setAttribute("aria-label", label); options.forEach((o) => s.append(new Option(o, o))); return s; };
  const rows = space.parameters.map(() => null);
  let mine = null, since = 0, answer = null, matters = null;

  // ---- left: the design

  const note = made("p", "", "note notice"), only = made("input");
  note.setAttribute("role", "status");
  only.type = "checkbox";
  only.addEventListener("change", filter);
  const undo = button("Undo", () => send("undo")), redo = button("Redo", () => send("redo"));
  const left = made("section", null, "design", [made("h2", "Design"), made("div", null, "bar", [
    undo, redo, button("Default", () => send("go", { to: "default" })), button("Best", () => send("go", { to: "best" }), "primary"),
    made("label", null, "switch", [only, " only what matters"])])]);
  function move(place, index) {
    mine = mine || answer.design.slice();
    mine[place] = String(index); since = performance.now();
    root.dataset.moved = since;
    rows[place].set(index);
    middle.classList.add("old"); state.textContent = "Evaluating; these numbers are of the design before.";
    send("set", { place, index });
  }
  const folds = new Map();
  space.parameters.forEach((p, place) => {
    const out = made("output"), label = made("label", null, "", [made("span", p.name), out]), row = made("div", null, "parameter");
    const cannot = made("p", "", "note cannot"), ticks = made("div", null, "ticks");
    let input, set;
    const say = (index) => { out.textContent = (p.values[index] ?? index) + (p.unit ? " " + p.unit : ""); row.classList.toggle("moved", index !== p.default); };
    if (p.look === "slider") {
      input = made("input"); input.type = "range"; input.min = 0; input.max = p.size - 1; input.step = 1;
      input.addEventListener("input", () => move(place, Number(input.value)));
      set = (index) => { input.value = index; input.setAttribute("aria-valuetext", p.values[index]); say(index); };
    } else if (p.look === "text") {
      input = made("input"); input.type = "text";
      input.addEventListener("change", () => send("type", { place, text: input.value }));
      set = () => {};
    } else {
      input = made("select"); p.values.forEach((v, i) => input.append(new Option(v, i)));
      input.disabled = p.look === "held";
      if (p.look === "held") cannot.textContent = "Held by the task: it has no other value.";
      input.addEventListener("change", () => move(place, Number(input.value)));
      set = (index) => { input.value = index; say(index); };
    }
    input.id = "p" + place; label.htmlFor = input.id; input.setAttribute("aria-label", p.name);
    row.title = p.doc; row.dataset.name = p.name;
    row.append(label, input, ...(p.look === "slider" ? [ticks] : []), cannot);
    rows[place] = { row, input, set, ticks, cannot, out };
    if (!folds.has(p.group)) {
      const fold = made("details", null, "", [made("summary", p.group || "parameters")]);
      fold.open = true; folds.set(p.group, fold); left.append(fold);
    }
    folds.get(p.group).append(row);
  });
  function filter() {
    rows.forEach((r, place) => { r.row.hidden = only.checked && matters !== null && !matters.has(place); });
    folds.forEach((fold) => { fold.hidden = ![...fold.querySelectorAll(".parameter")].some((r) => !r.hidden); });
  }

  // ---- middle: the answer

  const state = made("p", "Evaluating.", "note state"), metrics = made("div", null, "wide metrics"), limits = made("div"), bounds = made("div", null, "bounds"), pins = made("div");
  state.setAttribute("role", "status");
  const all = made("input"); all.type = "checkbox"; all.addEventListener("change", drawAnswer);
  const base = choice("Baseline", ["default", "best"]);
  base.addEventListener("change", () => send("baseline", { name: base.value }));
  const middle = made("section", null, "answer old", [made("h2", "Answer"), state,
    made("div", null, "bar", [made("label", "compared with ", "", [base]), button("Pin", () => send("pin")), made("label", null, "switch", [all, " all metrics"])]),
    metrics, limits, pins, made("h2", "What it consists of"), bounds]);
  function drawAnswer() {
    const a = answer;
    const letters = a.pins.map((pin) => pin.letter);
    base.replaceChildren(...["default", "best", ...letters].map((o) => new Option(o, o))); base.value = a.baseline;
    undo.disabled = !a.undo; redo.disabled = !a.redo;
    pins.replaceChildren(...a.pins.map((pin, number) => made("div", null, "bar", [made("b", pin.letter), made("span", pin.differs.length ? pin.differs.slice(0, 6).map(([n, was]) => n + " " + was).join(", ") + (pin.differs.length > 6 ? ", …" : "") : "this design", "note"),
      button("Load " + pin.letter, () => send("go", { to: pin.letter })), button("Drop", () => send("unpin", { number }))])));
    if (!a.known) return;
    if (!a.built) { metrics.replaceChildren(made("p", (a.failed ? "The simulator failed: " : "This design cannot be built: ") + a.reason, "warning")); limits.replaceChildren(); bounds.replaceChildren(); return; }
    const table = made("table"), head = made("tr");
    ["metric", "now", a.baseline, "change", ...letters].forEach((h, i) => head.append(made("th", h, i ? "n" : "")));
    table.createTHead().append(head);
    const body = table.createTBody(), known = a.metrics.filter((m) => all.checked || m.sought || m.goal !== "none");
    for (const m of known.slice(0, all.checked ? known.length : 14)) {
      const r = body.insertRow(); r.title = m.doc; r.dataset.metric = m.name; if (m.sought) r.className = "sought";
      r.append(made("td", m.title + (m.goal === "none" ? "" : m.goal === "minimise" ? " ↓" : " ↑")), made("td", m.text + (m.error ? " " + m.error : ""), "n"), made("td", m.base, "n"), made("td", m.change, "n " + m.mood), ...m.pins.map((t) => made("td", t, "n")));
    }
    metrics.replaceChildren(table);
    limits.replaceChildren(...a.limits.map((l) => made("p", (l.met ? "✓ met: " : "✕ missed: ") + l.text + ", " + l.by, l.met ? "better" : "worse")));
  }
  function takeAnswer() {
    const a = (answer = parts.answer);
    const same = !mine || String(mine) === String(a.design);
    // What somebody has moved since then is newer.
    if (!same && performance.now() - since < 3000) return;
    mine = null;
    a.design.forEach((index, place) => { const r = rows[place]; r.set(Number(index)); r.row.classList.toggle("inactive", !a.active[place]); if (space.parameters[place].look === "text") { r.input.value = a.texts[place]; r.out.textContent = ""; } });
    drawAnswer();
    middle.classList.toggle("old", !a.known);
    state.textContent = a.known ? "" : "Evaluating; these numbers are of the design before.";
    if (a.known) { root.dataset.design = a.design.join(); root.dataset.took = performance.now() - Number(root.dataset.moved || 0); }
    const hash = "#" + ["d=" + a.design.join(), ...a.pins.map((pin) => "p=" + pin.design.join())].join("&");
    if (model.is_page && location.hash !== hash) history.replaceState(null, "", hash);
  }
  function drawBounds() {
    bounds.replaceChildren(...parts.bounds.slice(0, 6).flatMap((bar) => {
      const shares = bar.parts.map(([name, share], i) => [name, share, "part-" + (name === "other" ? "other" : i % 6)]);
      const stack = (list) => made("div", null, "stack", list.map(([name, share, kind]) => { const s = made("span", null, kind); s.style.width = 100 * share + "%"; s.title = name + " " + percent(share); return s; }));
      const key = made("div", null, "key", shares.map(([name, share, kind]) => made("span", null, "", [made("i", null, kind), name + " " + percent(share)])));
      return [made("h3", bar.title + (bar.overlap ? " (causes overlap and do not add up)" : "")), ...(bar.overlap ? shares.map((part) => stack([part])) : [stack(shares)]), key];
    }));
    if (!parts.bounds.length) bounds.append(made("p", "The simulator does not say.", "note"));
  }

  // ---- right: where to go

  const progress = made("p", "", "note"), effects = made("div", null, "effects"), cloud = made("div"), follow = made("div");
  const right = made("section", null, "", [made("h2", "Every single change"), progress, effects, made("h2", "Evaluated designs"), cloud, follow]);
  function drawChanges() {
    const c = parts.changes;
    if (!c.effects) return;
    rows.forEach((r, place) => {
      const own = c.marks.filter((m) => m[0] === place), by = new Map(), p = space.parameters[place];
      r.ticks.replaceChildren(...own.map(([, index, why]) => { const t = made("i"); t.style.left = (100 * index) / (p.size - 1) + "%"; t.title = why; return t; }));
      own.forEach(([, index, why]) => by.set(why, [...(by.get(why) || []), p.values[index] ?? index]));
      if (p.look !== "held") r.cannot.textContent = [...by].map(([why, values]) => "✕ " + values.slice(0, 8).join(", ") + (values.length > 8 ? ", …" : "") + ": " + why).join(" ");
      if (p.look === "choice" || p.look === "switch") [...r.input.options].forEach((o) => { o.text = (own.some((m) => m[1] === Number(o.value)) ? "✕ " : "") + p.values[o.value]; });
    });
    matters = c.known === c.total ? new Set(c.matters) : matters;
    filter();
    progress.replaceChildren(whole(c.known) + " of " + whole(c.total) + " changes known; of each parameter the best and the worst other value, and what it does to " + c.measure + ". ", ...(c.known < c.total ? [button("Evaluate changes", () => send("changes"))] : []));
    const most = Math.max(1e-9, ...c.effects.map((e) => e.span));
    effects.replaceChildren(...c.effects.slice(0, 16).flatMap((e) => [made("span", space.parameters[e.place].name), ...[0, 1].map((k) => {
      if (!e.ends[k]) return made("span");
      const [index, text, gain, said] = e.ends[k], b = button("→ " + text + "  " + said, () => move(e.place, index), said === "no change" ? "" : gain > 0 ? "better" : "worse"), bar = made("i");
      bar.style.width = Math.min(100, (100 * Math.abs(gain)) / most) + "%"; b.append(bar); b.title = "Change " + space.parameters[e.place].name + " to " + text; return b; })]));
    root.dataset.changes = c.known + "/" + c.total;
    root.dataset.changed = c.design.join();
  }
  let redraw = null;
  function drawCloud() {
    const c = parts.cloud;
    if (!c.n) return;
    if (redraw) { redraw(c); return; }
    // Markup without any text of a study.
    cloud.innerHTML = model.controls;
    redraw = explorer(cloud.firstElementChild, c, (i) => send("load", { design: parts.cloud.designs[i] }));
  }
  let curve = null;
  const curves = made("div", null, "chart"), counts = made("div");
  follow.append(counts, curves);
  function drawStudy() {
    const s = parts.study;
    if (!s.studies) return;
    stop.hidden = !s.searching;
    counts.replaceChildren(...s.studies.map((t) => {
      const runs = Object.entries(t.runs).filter(([, n]) => n).map(([name, n]) => n + " " + name).join(", "), failed = t.tasks.flatMap((k) => k.agents).reduce((n, k) => n + k.failed, 0);
      const bar = made("progress"); bar.max = t.planned || 1; bar.value = t.evaluations; bar.hidden = !t.planned; bar.setAttribute("aria-label", "Evaluations");
      const last = t.tasks.map((k) => k.error).find((e) => e);
      return made("div", null, "", [made("h3", t.title), made("p", whole(t.evaluations) + (t.planned ? " of " + whole(t.planned) : "") + " evaluations; runs: " + (runs || "none") + (failed ? "; " + failed + " failed" : "") + (t.rate ? "; " + plainNumber(t.rate, 3) + " per second" : "") + (t.eta_s ? "; about " + whole(Math.ceil(t.eta_s)) + " s left" : ""), "note"), bar,
        ...(t.problem ? [made("p", t.problem, "warning")] : []), ...(last ? [made("p", "Last failure: " + last, "warning")] : [])]);
    }));
    const drawn = s.studies.flatMap((t) => t.tasks).filter((t) => t.curve.lines.length).at(-1);
    if (drawn && curve) curve(drawn.curve); else if (drawn) curve = chart(curves, drawn.curve);
    root.dataset.evaluations = s.studies.reduce((n, t) => n + t.evaluations, 0);
  }

  // ---- actions

  const name = made("input"), budget = made("input"), text = made("textarea"), agent = choice("Agent", space.agents), form = choice("Format", space.formats);
  name.type = "text"; name.placeholder = "name"; name.setAttribute("aria-label", "Name of the saved design");
  budget.type = "number"; budget.min = 1; budget.value = 100; budget.style.width = "6rem"; budget.setAttribute("aria-label", "Evaluations of the search");
  agent.value = "auto"; text.readOnly = true; text.hidden = true; text.setAttribute("aria-label", "Copied text");
  const stop = button("Stop search", () => send("stop")); stop.hidden = true;
  const actions = made("section", null, "actions", [made("div", null, "bar", [
    made("b", "Search from here"), agent, budget, button("Search", () => { send("search", { agent: agent.value, budget: Number(budget.value) }); }, "primary"), stop,
    made("b", "Save"), name, button("Save", () => send("save", { name: name.value })),
    made("b", "Copy as"), ...["command", "python", "json"].map((f) => button(f, () => send("copy", { form: f }))),
    made("b", "Export"), form, button("Export", () => send("export", { form: form.value })), button("Report", () => send("report"))]), text, note]);
  const takeText = () => { text.hidden = false; text.value = parts.text.text; text.select(); note.textContent = "The text is below."; if (navigator.clipboard) navigator.clipboard.writeText(parts.text.text).then(() => { note.textContent = "Copied; the text is below, too."; }, () => {}); };
  const takeNotice = () => { note.textContent = parts.notice; };
  const takeFile = () => { const link = made("a"); link.href = URL.createObjectURL(new Blob([parts.file.text])); link.download = parts.file.name; link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 1000); };

  root.append(made("h1", space.title), made("p", space.task, "note"), actions, made("div", null, "columns", [left, middle, right]));
  el.replaceChildren(root);
  if (model.is_page) document.head.append(made("style", ":root { color-scheme: light dark; } body { background: #ffffff; } @media (prefers-color-scheme: dark) { body { background: #16161a; } }"));
  const draw = { answer: takeAnswer, changes: drawChanges, bounds: drawBounds, cloud: drawCloud, study: drawStudy, text: takeText, notice: takeNotice, file: takeFile };
  model.on("msg:custom", ([part, content]) => {
    if (note.textContent === lost) { note.textContent = ""; takeAnswer(); }
    heard = performance.now(); parts[part] = content; (draw[part] || (() => {}))();
  });
  send("hello");
  // After a reload, and with another address, the page goes on with the design of its address.
  const visit = () => {
    const given = new URLSearchParams(location.hash.slice(1)), pinned = given.getAll("p");
    if (pinned.length) send("pins", { designs: pinned.map((p) => p.split(",")) });
    if (given.get("d")) send("load", { design: given.get("d").split(",") });
  };
  if (model.is_page) { visit(); addEventListener("hashchange", visit); }
  // A server that has ended or a connection that is lost answers no more.
  let heard = performance.now();
  const lost = "No answer from archgym explore: has it ended? What is shown may be old.";
  const listen = setInterval(() => {
    if (!root.isConnected) { clearInterval(listen); return; }
    if (performance.now() - heard > 9000) { note.textContent = lost; middle.classList.add("old"); state.textContent = lost; }
    send("ping");
  }, 3000);
  root.dataset.ready = "yes";
}
