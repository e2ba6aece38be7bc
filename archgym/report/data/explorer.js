// Evaluations of a task as dots over two metrics and as lines over the parameters, with filters.
const isDark = matchMedia("(prefers-color-scheme: dark)");
const shown = (x) => (Number.isFinite(x) ? plainNumber(x, 6) : "not built");

// Fills the markup of an explorer. A page that follows a study calls the returned function with new
// data, and has `picked` called with each design that is chosen.
function explorer(root, about, picked) {
  let { n, front, numbers, codes } = about;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const part = (name) => root.querySelector("[data-part=" + name + "]");
  const canvas = part("plot"), [xs, ys, parameter, value, status] = ["x", "y", "parameter", "value", "status"].map(part);
  const bands = part("bands");
  const option = (select, text, key) => { const o = document.createElement("option"); o.textContent = text; o.value = key; select.append(o); };
  about.axes.forEach((axis, i) => { option(xs, axis, i); option(ys, axis, i); });
  ys.value = about.axes.length > 1 ? 1 : 0;
  option(parameter, "no filter", -1);
  about.parameters.forEach((k, i) => option(parameter, k.name, i));
  let chosen = [about.best, about.reference], turn = 0, keep = new Uint8Array(n).fill(1);
  let brushes = about.parameters.map(() => null), place = 0, boxes = { x: [0, 1], y: [0, 1] }, frame = 0;
  const sort = () => { const x = numbers[xs.value]; return front.filter((i) => keep[i]).sort((a, b) => x[a] - x[b]); };

  function filter() {
    const k = Number(parameter.value), v = Number(value.value);
    let left = 0;
    for (let i = 0; i < n; i++) {
      let is = k < 0 || codes[k][i] === v;
      for (let j = 0; is && j < brushes.length; j++) if (brushes[j]) is = codes[j][i] >= brushes[j][0] && codes[j][i] <= brushes[j][1];
      keep[i] = is ? 1 : 0; left += keep[i];
    }
    status.textContent = left.toLocaleString("en") + " of " + n.toLocaleString("en") + " evaluations shown";
    renew();
  }
  // What only a filter, an axis, the size or the ground changes is painted once and copied.
  const layers = {};
  let version = 0;
  function layer(name, canvas, pen, paint) {
    const key = [version, canvas.width, canvas.height].join();
    if (!layers[name] || layers[name].key !== key) {
      const made = document.createElement("canvas");
      made.width = canvas.width; made.height = canvas.height;
      paint(made.getContext("2d"), devicePixelRatio || 1);
      layers[name] = { key, made };
    }
    pen.drawImage(layers[name].made, 0, 0, canvas.clientWidth, canvas.clientHeight);
  }
  const renew = () => { version++; redraw(); };
  function redraw() { if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); drawBands(); }); }
  function sized(c) {
    const ratio = devicePixelRatio || 1, w = c.clientWidth, h = c.clientHeight;
    if (c.width !== w * ratio || c.height !== h * ratio) { c.width = w * ratio; c.height = h * ratio; }
    const pen = c.getContext("2d"); pen.setTransform(ratio, 0, 0, ratio, 0, 0); pen.clearRect(0, 0, w, h);
    pen.font = "12px system-ui"; return [pen, w, h];
  }
  const logs = [part("xlog"), part("ylog")];
  function range(column, isLog) {
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < n; i++) { const v = column[i]; if (keep[i] && (!isLog || v > 0)) { if (v < low) low = v; if (v > high) high = v; } }
    if (!(low <= high)) return isLog ? [0.1, 10] : [0, 1];
    if (isLog) { const pad = 1.02 * (high / low) ** 0.03; return [low / pad, high * pad]; }
    const pad = 0.04 * (high - low) || 0.5; return [low - pad, high + pad];
  }
  const left = 70, bottom = 40;
  const share = (v, [a, b], isLog) => (isLog ? Math.log(v / a) / Math.log(b / a) : (v - a) / (b - a));
  const px = (v, w) => left + share(v, boxes.x, logs[0].checked) * (w - left - 12);
  const py = (v, h) => h - bottom - share(v, boxes.y, logs[1].checked) * (h - bottom - 12);
  function draw() {
    const [pen, w, h] = sized(canvas), x = numbers[xs.value], y = numbers[ys.value];
    boxes = { x: range(x, logs[0].checked), y: range(y, logs[1].checked) };
    layer("dots", canvas, pen, (image, ratio) => {
      // Pixels are set directly: a hundred thousand rectangles would take a quarter of a second.
      const cw = image.canvas.width, ch = image.canvas.height, pixels = image.getImageData(0, 0, cw, ch), data = new Uint32Array(pixels.data.buffer);
      const tone = (isDark.matches ? 0xa9a9b6 : 0x5a5a64), bgr = ((tone & 255) << 16) | (tone & 0xff00) | (tone >> 16), ink = (0xff000000 | bgr) >>> 0;
      const size = Math.round((n > 20000 ? 2 : n > 2000 ? 3 : 5) * ratio), half = size >> 1;
      for (let i = 0; i < n; i++) if (keep[i] && x[i] === x[i] && y[i] === y[i]) {
        const a = Math.round(px(x[i], w) * ratio) - half, b = Math.round(py(y[i], h) * ratio) - half;
        for (let v = b; v < b + size; v++) for (let u = a; u < a + size; u++) if (u >= 0 && u < cw && v >= 0 && v < ch) data[v * cw + u] = ink;
      }
      image.putImageData(pixels, 0, 0);
    });
    pen.globalAlpha = 1; pen.fillStyle = colour("--accent");
    for (const i of front) if (keep[i]) { pen.beginPath(); pen.arc(px(x[i], w), py(y[i], h), 4, 0, 7); pen.fill(); }
    pen.strokeStyle = pen.fillStyle = colour("--ink"); pen.lineWidth = 2;
    chosen.forEach((i, j) => { pen.beginPath(); pen.arc(px(x[i], w), py(y[i], h), 8, 0, 7); pen.stroke(); pen.fillText((about.marks || "AB")[j], px(x[i], w) + 10, py(y[i], h) - 8); });
    pen.lineWidth = 1; pen.strokeRect(left, 12, w - left - 12, h - bottom - 12);
    pen.textAlign = "center";
    for (const v of ticks(...boxes.x, logs[0].checked, w < 500 ? 3 : 6)) { pen.textAlign = "center"; pen.fillText(plainNumber(v), px(v, w), h - 24); }
    for (const v of ticks(...boxes.y, logs[1].checked, 5)) { pen.textAlign = "right"; pen.fillText(plainNumber(v), left - 6, py(v, h) + 4); }
    pen.textAlign = "center"; pen.fillText(about.axes[xs.value], (w + left) / 2, h - 6);
    pen.textAlign = "left"; pen.fillText(about.axes[ys.value], left + 6, 26);
  }
  function table() {
    const body = part("designs"); body.textContent = "";
    const row = (name, a, b) => {
      const r = body.insertRow(); r.insertCell().textContent = name;
      for (const t of [a, b]) { const c = r.insertCell(); c.textContent = t; c.className = "n"; }
      if (a !== b) r.className = "differs";
    };
    about.axes.forEach((name, i) => row(name, shown(numbers[i][chosen[0]]), shown(numbers[i][chosen[1]])));
    about.parameters.forEach((k, i) => row(k.name, k.values[codes[i][chosen[0]]], k.values[codes[i][chosen[1]]]));
  }
  function choose(i) { chosen[turn] = i; table(); redraw(); if (picked) picked(i); }
  function setTurn(t) { turn = t; ["a", "b"].forEach((name, i) => part(name).setAttribute("aria-pressed", String(i === t))); }
  part("a").addEventListener("click", () => setTurn(0));
  part("b").addEventListener("click", () => setTurn(1));
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect(), cx = event.clientX - box.left, cy = event.clientY - box.top;
    const x = numbers[xs.value], y = numbers[ys.value]; let best = -1, near = 900;
    for (let i = 0; i < n; i++) if (keep[i]) { const d = (px(x[i], box.width) - cx) ** 2 + (py(y[i], box.height) - cy) ** 2; if (d < near) { near = d; best = i; } }
    if (best >= 0) choose(best);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const order = sort();
    if (step && order.length) { place = (order.indexOf(chosen[turn]) + step + order.length) % order.length; choose(order[place]); event.preventDefault(); }
    if (event.key === "Enter" || event.key === " ") { setTurn(1 - turn); event.preventDefault(); }
  });
  parameter.addEventListener("change", () => {
    value.textContent = ""; value.disabled = parameter.value < 0;
    if (parameter.value >= 0) about.parameters[parameter.value].values.forEach((v, i) => option(value, v, i));
    filter();
  });
  value.addEventListener("change", filter);
  for (const select of [xs, ys, ...logs]) select.addEventListener("change", renew);

  // Parallel coordinates: drag along an axis to keep a part of it, click to keep all again.
  const most = () => Math.max(1, Math.floor(n / 1500));
  const bandX = (j, w) => 20 + (w - 40) * j / Math.max(1, about.parameters.length - 1);
  const bandY = (j, c, h) => h - 30 - (h - 60) * (about.parameters[j].values.length > 1 ? c / (about.parameters[j].values.length - 1) : 0.5);
  function drawBands() {
    const [pen, w, h] = sized(bands);
    layer("bands", bands, pen, (image, ratio) => {
      image.scale(ratio, ratio); image.globalAlpha = 0.12; image.strokeStyle = colour("--accent");
      for (let i = 0; i < n; i += most()) if (keep[i]) { image.beginPath(); codes.forEach((c, j) => image.lineTo(bandX(j, w), bandY(j, c[i], h))); image.stroke(); }
    });
    pen.globalAlpha = 1; pen.strokeStyle = colour("--ink"); pen.lineWidth = 2;
    chosen.forEach((i, which) => { pen.setLineDash(which ? [5, 4] : []); pen.beginPath(); codes.forEach((c, j) => pen.lineTo(bandX(j, w), bandY(j, c[i], h))); pen.stroke(); });
    pen.setLineDash([]); pen.lineWidth = 1; pen.fillStyle = colour("--ink");
    about.parameters.forEach((k, j) => {
      const x = bandX(j, w); pen.beginPath(); pen.moveTo(x, 30); pen.lineTo(x, h - 30); pen.stroke();
      pen.textAlign = j === 0 ? "left" : j === about.parameters.length - 1 ? "right" : "center";
      // A name that does not fit beside the next one but one is a number, which the note explains.
      const isWide = pen.measureText(k.name).width < 2 * (w - 40) / about.parameters.length - 10;
      pen.fillText(isWide ? k.name : String(j + 1), x, j % 2 ? 12 : 24);
      if (brushes[j]) { pen.globalAlpha = 0.4; const a = bandY(j, brushes[j][1], h), b = bandY(j, brushes[j][0], h); pen.fillRect(x - 6, a - 4, 12, b - a + 8); pen.globalAlpha = 1; }
    });
  }
  let began = null;
  const hit = (event) => {
    const box = bands.getBoundingClientRect(), m = about.parameters.length;
    const j = Math.max(0, Math.min(m - 1, Math.round((event.clientX - box.left - 20) / (box.width - 40) * Math.max(1, m - 1))));
    return [j, (box.height - 30 - (event.clientY - box.top)) / (box.height - 60) * (about.parameters[j].values.length - 1)];
  };
  bands.addEventListener("pointerdown", (event) => { began = hit(event); bands.setPointerCapture(event.pointerId); });
  bands.addEventListener("pointerup", (event) => {
    if (!began) return;
    const [j, from] = began, to = hit(event)[1]; began = null;
    const low = Math.ceil(Math.min(from, to) - 0.3), high = Math.floor(Math.max(from, to) + 0.3);
    brushes[j] = Math.abs(to - from) < 0.05 * about.parameters[j].values.length || low > high ? null : [low, high];
    filter();
  });
  part("reset").addEventListener("click", () => { brushes = brushes.map(() => null); parameter.value = -1; value.textContent = ""; value.disabled = true; filter(); });
  addEventListener("resize", redraw); isDark.addEventListener("change", renew);
  setTurn(about.marks ? 1 : 0); table(); filter();
  return (next) => {
    brushes = brushes.map((brush, j) => (String(next.parameters[j].values) === String(about.parameters[j].values) ? brush : null));
    about = next; ({ n, front, numbers, codes } = next);
    chosen = [about.best, about.reference]; keep = new Uint8Array(n).fill(1);
    table(); filter();
  };
}
