// Follows a study: asks for its state, and writes it with textContent alone.
const byId = (id) => document.getElementById(id);
const made = (name, text, kind) => { const e = document.createElement(name); if (text !== undefined) e.textContent = text; if (kind) e.className = kind; return e; };
const span = (s) => (s < 120 ? Math.ceil(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : s < 172800 ? (s / 3600).toFixed(1) + " h" : (s / 86400).toFixed(1) + " days");
const whole = (n) => n.toLocaleString("en");
const views = new Map();
let version = 0;

function table(heads, rows) {
  const wide = made("div", undefined, "wide"), t = made("table"), head = made("tr");
  heads.forEach((h, i) => head.append(made("th", h, i ? "n" : "")));
  t.createTHead().append(head);
  const body = t.createTBody();
  for (const row of rows) { const r = body.insertRow(); row.forEach((c, i) => r.append(made("td", c, i ? "n" : ""))); }
  wide.append(t);
  return wide;
}
function view(id) {
  if (views.has(id)) return views.get(id);
  const root = made("section"), cards = made("div", undefined, "cards"), live = made("div", undefined, "live");
  const curve = made("div", undefined, "chart"), front = made("div", undefined, "chart"), agents = made("div");
  const left = made("div"), right = made("div");
  left.append(made("h3", "Best so far"), curve);
  right.append(made("h3", "Front"), front);
  live.append(left, right);
  root.append(made("h2", id), cards, live, made("h3", "Agents"), agents);
  byId("tasks").append(root);
  const found = { cards, curve, front, right, agents, charts: {} };
  views.set(id, found);
  return found;
}
function card(title, parts) { const c = made("section", undefined, "card"); c.append(made("h3", title), ...parts); return c; }
function cards(task) {
  const b = task.best;
  if (!b) return [card("Best design", [made("p", "No feasible design has been found so far.")])];
  const design = b.changes.map(([name, from, to]) => { const d = made("div", undefined, "change"), s = made("span", from + " → "); s.append(made("b", to)); d.append(made("span", name), s); return d; });
  if (!design.length) design.push(made("p", "The default design."));
  const gains = b.metrics.map((m) => { const d = made("div", undefined, "gain"); d.append(made("span", m.title), made("b", m.best), made("span", "default " + m.default), made("span")); return d; });
  const facts = [made("p", "Reward " + plainNumber(b.reward) + ", evaluation " + whole(b.evaluation) + " of " + b.agent + ".", "note")];
  if (b.limits.length) facts.push(made("p", b.missed.length ? "Limits missed: " + b.missed.join("; ") : "Limits met: " + b.limits.join(", "), b.missed.length ? "worse" : "better"));
  return [card("Best design", design), card("Metrics", [...gains, ...facts])];
}
function show(data) {
  document.title = data.title + " · " + whole(data.evaluations);
  byId("title").textContent = data.title;
  const runs = Object.entries(data.runs).filter(([, n]) => n).map(([name, n]) => n + " " + name).join(", ");
  byId("counts").textContent = whole(data.evaluations) + (data.planned ? " of " + whole(data.planned) : "") + " evaluations; runs: " + (runs || "none") +
    (data.rate ? "; " + plainNumber(data.rate, 3) + " per second" : "") + (data.eta_s ? "; about " + span(data.eta_s) + " left" : "");
  const bar = byId("bar");
  bar.hidden = !data.planned; bar.max = data.planned || 1; bar.value = data.evaluations;
  byId("problem").textContent = data.problem; byId("problem").hidden = !data.problem;
  for (const task of data.tasks) {
    const v = view(task.id);
    v.cards.replaceChildren(...cards(task));
    for (const name of ["curve", "front"]) {
      const spec = task[name];
      if (name === "front") v.right.hidden = !spec;
      if (!spec) continue;
      if (v.charts[name]) v.charts[name](spec); else v.charts[name] = chart(v[name], spec);
    }
    v.agents.replaceChildren(table(["agent", "runs", "running", "evaluations", "best reward", "infeasible", "failed"],
      task.agents.map((a) => [a.agent, whole(a.runs), whole(a.running), whole(a.evaluations), a.best === null ? "–" : plainNumber(a.best), whole(a.infeasible), whole(a.failed)])));
    if (task.error) v.agents.append(made("p", "Last failure: " + task.error, "warning"));
    if (task.damaged) v.agents.append(made("p", whole(task.damaged) + " damaged lines of journals are left out.", "warning"));
  }
  document.documentElement.dataset.evaluations = data.evaluations;
}
async function follow() {
  let wait = 1000;
  try {
    const answer = await fetch("data?since=" + version, { cache: "no-store" });
    if (!answer.ok) throw new Error("status " + answer.status);
    const data = await answer.json();
    byId("lost").hidden = true;
    if (data.version !== version) { version = data.version; show(data); }
    if (data.more) wait = 50;
  } catch (error) { byId("lost").hidden = false; }
  document.documentElement.dataset.ready = "yes";
  setTimeout(follow, wait);
}
follow();
