const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// ---- figures

const drawn = new Set();
function drawFigure(figure) {
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true, exponentformat: "SI" };
  const narrow = innerWidth < 640;
  const layout = {
    ...figure.layout, autosize: true, margin: { l: 55, r: 15, t: 10, b: 45 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--ink") },
    xaxis: { ...axis, ...figure.layout.xaxis }, yaxis: { ...axis, ...(narrow ? { tickfont: { size: 9 } } : {}), ...figure.layout.yaxis },
    legend: narrow ? { orientation: "h", y: 1, yanchor: "bottom", font: { size: 10 } } : { x: 1.01, y: 1 },
  };
  Plotly.react(figure.id, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
}
let plotly;
const startPlotly = () => plotly ||= inflate(byId("plotly").textContent).then((code) => {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(code);
  document.head.append(script);
  const again = () => read("figures").forEach((figure) => { if (drawn.has(figure.id)) drawFigure(figure); });
  isDark.addEventListener("change", again);
  matchMedia("(max-width: 640px)").addEventListener("change", again);
});
// What is folded is drawn when it is opened: a closed part has no size, and costs nothing.
async function fill(fold) {
  if (!fold.open || fold.dataset.drawn) return;
  fold.dataset.drawn = "begun";
  const wanted = read("figures").filter((figure) => fold.querySelector("#" + CSS.escape(figure.id)));
  if (wanted.length) await startPlotly();
  for (const figure of wanted) { drawFigure(figure); drawn.add(figure.id); }
  for (const about of read("explorers")) if (fold.querySelector("#" + about.id)) await startExplorer(about);
  fold.dataset.drawn = "yes";
}

// ---- explorers

async function startExplorer(about) {
  const buffer = await inflate(byId(about.id + "-data").textContent);
  let at = 0;
  const part = (kind) => { const found = new kind(buffer, at, about.n); at += 4 * about.n; return found; };
  explorer(byId(about.id), { ...about, numbers: about.axes.map(() => part(Float32Array)), codes: about.parameters.map(() => part(Uint32Array)) });
}
document.querySelectorAll("[data-front]").forEach((root) => { const spec = read("fronts")[root.dataset.front]; if (spec) chart(root, spec); });
for (const fold of document.querySelectorAll("details")) fold.addEventListener("toggle", () => fill(fold));
// A link of the contents opens what it leads to.
const opened = () => { const fold = location.hash.length > 1 && byId(decodeURIComponent(location.hash.slice(1))); if (fold && fold.tagName === "DETAILS") { fold.open = true; fold.scrollIntoView(); } };
addEventListener("hashchange", opened);
opened();
document.documentElement.dataset.ready = "yes";
