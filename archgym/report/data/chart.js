"use strict";
// Drawings as SVG: dots, stepped lines and labelled marks on linear or logarithmic axes.
const SVG = "http://www.w3.org/2000/svg";
const PREFIXES = { "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T" };

// A number with so many significant digits, and no exponent such as e+05.
function plainNumber(x, digits = 4) {
  if (x === null || !Number.isFinite(x)) return "–";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e-3 && size < 1e6) return x.toLocaleString("en", { maximumSignificantDigits: digits });
  const power = Math.floor(Math.log10(size) / 3 + 1e-9) * 3;
  const mantissa = (x / 10 ** power).toLocaleString("en", { maximumSignificantDigits: digits });
  return mantissa + (power in PREFIXES && power > 0 ? " " + PREFIXES[power] : "×10^" + power);
}

// Values of marks on an axis from low to high, at most about n.
function ticks(low, high, isLog, n) {
  const found = [];
  if (isLog) {
    const steps = Math.log10(high / low) > n ? [1] : Math.log10(high / low) > 1.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
    const every = Math.max(1, Math.ceil(Math.log10(high / low) / n));
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p += every) for (const s of steps) found.push(s * 10 ** p);
    const inside = found.filter((v) => v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9));
    const skip = Math.ceil(inside.length / n);
    if (inside.length > 1) return inside.filter((_, i) => i % skip === 0);
  }
  found.length = 0;
  const rough = (high - low) / n, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((s) => s * power >= rough);
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

// Draws spec into root and draws it again when its size or a switch changes. A page that follows
// a study calls the returned function with a new spec.
let charts = 0;
function chart(root, spec) {
  const clip = "clip-" + charts++;
  const logs = { x: spec.x.log, y: spec.y.log };
  const controls = document.createElement("div");
  controls.className = "controls";
  for (const axis of ["x", "y"]) {
    const label = document.createElement("label"), box = document.createElement("input");
    label.className = "switch"; box.type = "checkbox"; box.checked = logs[axis];
    box.addEventListener("change", () => { logs[axis] = box.checked; draw(); });
    label.append(box, axis === "x" ? " log scale across" : " log scale up");
    controls.append(label);
  }
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", spec.label || "Chart");
  root.replaceChildren(svg, controls);

  function element(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
    return made;
  }
  function range(axis) {
    const drawn = [...(spec.marks || []).map((m) => m[axis]), ...(spec.lines || []).flatMap((l) => l[axis])];
    // A fixed range leaves out the parts of lines beyond it.
    const values = spec[axis].fixed ? [] : drawn, wide = spec[axis].range || [];
    let low = Infinity, high = -Infinity;
    for (const v of values.concat(wide)) if (Number.isFinite(v) && (!logs[axis] || v > 0)) { low = Math.min(low, v); high = Math.max(high, v); }
    if (!(low <= high)) return logs[axis] ? [0.1, 10] : [0, 1];
    if (logs[axis]) { const pad = Math.max(0.04 * Math.log(high / low), 0.01); return [low * Math.exp(-pad), high * Math.exp(pad)]; }
    const pad = 0.05 * (high - low) || 0.05 * Math.abs(high) || 0.5;
    return [low - pad, high + pad];
  }
  function draw() {
    const w = Math.max(280, root.clientWidth), h = Math.min(430, Math.max(260, 0.62 * w));
    const left = 64, right = 14, top = 12, bottom = 46;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
    svg.setAttribute("height", h);
    const boxes = { x: range("x"), y: range("y") };
    const share = (axis, v) => { const [a, b] = boxes[axis]; return logs[axis] ? Math.log(v / a) / Math.log(b / a) : (v - a) / (b - a); };
    const px = (v) => left + share("x", v) * (w - left - right), py = (v) => h - bottom - share("y", v) * (h - top - bottom);
    const isIn = (x, y) => px(x) >= left - 1 && px(x) <= w - right + 1 && py(y) >= top - 1 && py(y) <= h - bottom + 1;
    for (const v of ticks(...boxes.x, logs.x, w < 500 ? 4 : 7)) {
      element("line", { x1: px(v), x2: px(v), y1: top, y2: h - bottom, class: "grid" });
      element("text", { x: px(v), y: h - bottom + 17, "text-anchor": px(v) > w - 28 ? "end" : "middle", class: "tick" }, plainNumber(v));
    }
    for (const v of ticks(...boxes.y, logs.y, 6)) {
      element("line", { x1: left, x2: w - right, y1: py(v), y2: py(v), class: "grid" });
      element("text", { x: left - 7, y: py(v) + 4, "text-anchor": "end", class: "tick" }, plainNumber(v));
    }
    element("text", { x: (left + w - right) / 2, y: h - 8, "text-anchor": "middle", class: "name" }, spec.x.title + (spec.x.better ? ", " + spec.x.better : ""));
    element("text", { x: 14, y: (top + h - bottom) / 2, "text-anchor": "middle", class: "name", transform: `rotate(-90 14 ${(top + h - bottom) / 2})` }, spec.y.title + (spec.y.better ? ", " + spec.y.better : ""));
    const box = document.createElementNS(SVG, "clipPath");
    box.id = clip;
    svg.append(box);
    box.append(element("rect", { x: left - 2, y: top - 2, width: w - left - right + 4, height: h - top - bottom + 4 }));
    if (spec.dots) {
      const d = spec.dots, n = d.x.length, size = n > 2000 ? 3 : n > 300 ? 4 : 6;
      let path = "";
      for (let i = 0; i < n; i++) if (isIn(d.x[i], d.y[i])) path += `M${px(d.x[i]).toFixed(1)} ${py(d.y[i]).toFixed(1)}h0`;
      element("path", { d: path, class: "dots", "stroke-width": size });
    }
    for (const limit of spec.limits || []) {
      const at = limit.axis === "x" ? px(limit.at) : py(limit.at);
      if (!Number.isFinite(at) || at < top || (limit.axis === "x" ? at < left || at > w - right : at > h - bottom)) continue;
      element("line", limit.axis === "x" ? { x1: at, x2: at, y1: top, y2: h - bottom, class: "limit" } : { x1: left, x2: w - right, y1: at, y2: at, class: "limit" });
      element("text", limit.axis === "x" ? { x: at + 4, y: top + 12, class: "tick" } : { x: left + 4, y: at - 4, class: "tick" }, limit.text);
    }
    (spec.lines || []).forEach((line, number) => {
      let path = "";
      line.x.forEach((x, i) => {
        const y = line.y[i];
        if (y === null || !Number.isFinite(y) || (logs.x && x <= 0) || (logs.y && y <= 0)) return;
        const a = px(x).toFixed(1), b = py(y).toFixed(1);
        path += !path ? `M${a} ${b}` : line.step === "vh" ? `V${b}H${a}` : line.step === "hv" ? `H${a}V${b}` : `L${a} ${b}`;
      });
      element("path", { d: path, class: "line line-" + (number % 6), "clip-path": `url(#${clip})` });
      if (spec.legend) {
        const y = h - bottom - 18 * (spec.lines.length - number);
        element("rect", { x: w - right - 20, y: y - 2, width: 14, height: 4, class: "key key-" + (number % 6) });
        element("text", { x: w - right - 26, y: y + 4, "text-anchor": "end", class: "label" }, line.name);
      }
    });
    // Labels take the first of eight places that is free.
    const taken = (spec.marks || []).map((m) => [px(m.x) - 7, py(m.y) - 7, px(m.x) + 7, py(m.y) + 7]);
    for (const mark of spec.marks || []) {
      const x = px(mark.x), y = py(mark.y);
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      const shape = mark.kind === "star" ? element("path", { d: star(x, y, 9), class: "mark star" }) : element("circle", { cx: x, cy: y, r: mark.kind === "best" ? 8 : 4.5, class: "mark " + mark.kind });
      const title = document.createElementNS(SVG, "title");
      title.textContent = mark.text + ": " + mark.title;
      shape.append(title);
      const width = 7 * mark.text.length + 4;
      for (const [dx, dy] of [[10, -8], [10, 16], [-10 - width, -8], [-10 - width, 16], [-width / 2, -14], [-width / 2, 24], [13, 4], [-13 - width, 4]]) {
        const box = [x + dx, y + dy - 11, x + dx + width, y + dy + 2];
        if (box[0] < left || box[2] > w || box[1] < 0 || box[3] > h - bottom + 2 || taken.some((t) => t[0] < box[2] && t[2] > box[0] && t[1] < box[3] && t[3] > box[1])) continue;
        taken.push(box);
        element("text", { x: x + dx, y: y + dy, class: "label" }, mark.text);
        break;
      }
    }
  }
  function star(x, y, r) {
    let path = "";
    for (let k = 0; k < 10; k++) { const a = Math.PI * (k / 5 - 0.5), s = k % 2 ? 0.42 * r : r; path += (k ? "L" : "M") + (x + s * Math.cos(a)).toFixed(1) + " " + (y + s * Math.sin(a)).toFixed(1); }
    return path + "Z";
  }
  let width = 0;
  new ResizeObserver(() => { if (root.clientWidth !== width) { width = root.clientWidth; draw(); } }).observe(root);
  draw();
  return (next) => { spec = next; draw(); };
}
