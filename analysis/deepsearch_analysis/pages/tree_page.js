// The page: panel, search, replay, keys, links.
"use strict";
const began = performance.now();
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const escape = (t) => String(t).replace(/[&<>"]/g, (c) => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[c]));
const short = (v, digits = 3) => (v === null || v === undefined || !Number.isFinite(v) ? "–" : String(+v.toPrecision(digits)));
const view = new TreeView(element("canvas"));
const models = new Map();
let model = null, current = -1, timer = 0, matches = [], match = -1;

function colours() {
  const style = getComputedStyle(document.documentElement), get = (n) => style.getPropertyValue("--" + n).trim();
  return {ink: get("ink"), quiet: get("quiet"), edge: get("edge"), good: get("good"), bad: get("bad"), accent: get("accent"), line: get("line"), heat: get("heat")};
}
let palette = colours();
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const mix = (a, b, t) => `rgb(${rgb(a).map((v, i) => Math.round(v + (rgb(b)[i] - v) * t)).join(",")})`;

// Ramps of 33 colours, so that drawing makes no strings.
let ramps = {};
function makeRamps() {
  palette = colours();
  const ramp = (a, b) => Array.from({length: 33}, (_, i) => mix(a, b, i / 32));
  ramps = {up: ramp(palette.line, palette.accent), down: ramp(palette.line, palette.bad)};
}
const pickRamp = (ramp, t) => ramp[Math.round(Math.min(Math.max(t, 0), 1) * 32)];

function colourOf() {
  const by = element("colour").value, top = {entropy: maximum(model.entropy), visits: Math.log1p(maximum(model.visits)), created: Math.max(model.last, 1)};
  if (by === "entropy") return (i) => pickRamp(ramps.up, model.entropy[i] / top.entropy);
  if (by === "visits") return (i) => pickRamp(ramps.up, Math.log1p(view.state.visits[i]) / top.visits);
  if (by === "created") return (i) => pickRamp(ramps.up, model.created[i] / top.created);
  const signed = by === "advantage" ? (i) => (model.advantage ? model.advantage[i] ?? 0 : 0) : (i) => view.meanValue(i);
  return (i) => { const v = signed(i); return v < 0 ? pickRamp(ramps.down, -v) : pickRamp(ramps.up, v); };
}
const maximum = (values) => values.reduce((a, b) => Math.max(a, b), 1e-9);

function key() {
  const by = element("colour").value, signed = by === "q" || by === "advantage";
  const [low, high] = signed ? ["−1", "+1"] : ["0", by === "created" ? model.last : short(maximum(model[by]))];
  const stops = signed ? `${palette.bad}, ${palette.line}, ${palette.accent}` : `${palette.line}, ${palette.accent}`;
  element("key").innerHTML = `${low}<i style="background:linear-gradient(90deg, ${stops})"></i>${high} · green: recorded, and the path to the answer · drag, wheel; click: read, double click: fold`;
}

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; drawNow(); });
}
function drawNow() {
  const from = performance.now();
  view.draw(palette, colourOf());
  window.deepsearch.drawMs = performance.now() - from;
}

function tokenSpan(node, i) {
  const at = model.first[node] + i, by = element("tokens").value;
  const entropy = model.tokens.entropy[at], logprob = model.tokens.logprob[at], piece = model.piece(model.tokens.id[at]);
  const heat = by === "entropy" ? Math.min(entropy / 2.5, 1) : by === "logprob" ? Math.min(-logprob / 4, 1) : 0;
  const tip = `id ${model.tokens.id[at]}, log-prob ${short(logprob)}, entropy ${short(entropy)}`;
  return `<span style="background:rgba(${palette.heat},${(heat * 0.75).toFixed(2)})" title="${tip}">${escape(piece)}</span>`;
}
const stepHtml = (node) => Array.from({length: model.count[node]}, (_, i) => tokenSpan(node, i)).join(escape(model.joint));

function why(node) {
  if (!node) return "the root: the prompt";
  const picks = (model.picks.get(node) || []).filter((p) => p.iteration <= view.iteration);
  const said = picks.slice(0, 4).map((p) => `iteration ${p.iteration}: ${WHY[p.why]}, ${short(p.score, 4)}`);
  if (model.order.has(node)) {
    const reason = model.leftover[model.order.get(node)] ? "it filled a place after the frontier ran dry" : "picked among its siblings' terminals";
    said.push(`recorded as no. ${model.order.get(node) + 1}: ${reason}`);
  }
  return said.length ? said.join("<br>") : model.terminal[node] ? "a terminal that was not picked" : "never picked for expansion";
}

function panel() {
  const node = Math.max(view.selected, 0), verdict = ["correct", "wrong", "incomplete"][model.outcome[node]];
  const advantage = model.advantage ? short(model.advantage[node], 4) : "not from the tree alone (see [learn])";
  const rows = [
    ["node", `${node}, depth ${model.depth[node]}${node ? `, parent <a href="#" data-node="${model.parent[node]}">${model.parent[node]}</a>` : ""}`],
    ["N", view.state.visits[node]], ["Q = q/N", `${short(view.meanValue(node), 4)} <span class="quiet">q ${short(view.state.value[node], 5)}</span>`],
    ["entropy H", `${short(model.entropy[node], 4)} nats a token`], ["log-prob", `${short(model.logprob[node], 5)} nats, ${model.count[node]} tokens`],
    ["verdict", model.terminal[node] ? `<b class="${verdict === "correct" ? "good" : "bad"}">${verdict || "terminal, not judged"}</b>` : "not terminal"],
    ["advantage", advantage], ["why picked", why(node)],
    ["made", `iteration ${model.created[node]}${model.expanded[node] >= 0 ? `, expanded in ${model.expanded[node]}` : ""}, rank ${model.rank[node]}`],
  ];
  const path = model.path(node), problem = data.problems[model.problem];
  const steps = path.map((p) => `<span class="step${p === node ? " here" : ""}" data-node="${p}">${stepHtml(p)}</span>`).join("\n");
  element("side").innerHTML =
    `<div class="quiet">${escape(model.name)} · ${model.kind} · step ${model.step} · ${model.n.toLocaleString("en")} nodes · stopped: ${escape(model.stop)}</div>` +
    (model.missing ? `<div class="missing">${escape(model.missing)}</div>` : "") +
    `<table>${rows.map(([k, v]) => `<tr><td>${k}</td><td>${v}</td></tr>`).join("")}</table>` +
    `<h2>problem ${escape(problem.id || problem.key)}</h2><div class="text">${escape(model.prompt || problem.prompt)}</div>` +
    (problem.answer ? `<div class="quiet">answer: ${escape(problem.answer)}</div>` : "") +
    `<h2>from the root to here${element("tokens").value === "none" ? "" : `, coloured by ${element("tokens").value}`}</h2><div class="text">${steps || '<span class="quiet">(nothing yet)</span>'}</div>` +
    `<h2>other trees on this page</h2><ul>${links()}</ul>`;
}

function links() {
  return data.trees.map((tree, i) => {
    const problem = data.problems[tree.problem], found = tree.correct;
    return `<li>${i === current ? "▸ " : ""}<a href="#t${i}">${escape(problem.id || problem.key)}</a> <span class="quiet">${tree.kind}, step ${tree.step}, ` +
      `${tree.parent.length} nodes,</span> <span class="${found ? "good" : "bad"}">${found} of ${tree.recorded.length} correct</span></li>`;
  }).join("") + data.pages.map((p) => `<li><a href="${escape(p.file)}">${escape(p.name)}</a> <span class="quiet">page beside this one</span></li>`).join("");
}

function select(node, centre = false) {
  view.selected = node;
  if (node >= 0) view.reveal(node);
  if (centre && node >= 0) view.centre(node);
  panel();
  redraw();
}

function setIteration(iteration) {
  view.at(iteration);
  element("slider").value = iteration;
  element("clock").textContent = `iteration ${iteration} of ${model.last}`;
  element("event").textContent = model.eventAt(iteration);
  if (view.selected >= 0 && model.created[view.selected] > iteration) view.selected = -1;
  panel();
  redraw();
}

function play(on = !timer) {
  clearInterval(timer);
  timer = 0;
  element("play").textContent = on ? "❚❚" : "▶";
  if (!on) return;
  if (view.iteration >= model.last) setIteration(0);
  const stride = Math.max(1, Math.round(model.last / 400));
  timer = setInterval(() => {
    setIteration(Math.min(view.iteration + stride, model.last));
    if (view.iteration >= model.last) play(false);
  }, Math.max(40, Math.min(300, 12000 / Math.max(model.last, 1))));
}

function search(words) {
  const wanted = words.trim().toLowerCase();
  matches = wanted ? model.texts().flatMap((text, i) => (text.includes(wanted) ? [i] : [])) : [];
  match = -1;
  view.matches = new Set(matches);
  element("found").textContent = wanted ? `${matches.length} found` : "";
  redraw();
}
function nextMatch(by) {
  if (!matches.length) return;
  match = (match + by + matches.length) % matches.length;
  element("found").textContent = `${match + 1} of ${matches.length}`;
  select(matches[match], true);
}

function show(index) {
  play(false);
  current = index;
  if (!models.has(index)) models.set(index, new TreeModel(data.trees[index], data));
  model = models.get(index);
  element("trees").value = index;
  element("title").textContent = data.run;
  element("slider").max = model.last;
  view.show(model);
  view.selected = model.recorded.find((leaf) => model.outcome[leaf] === 0) ?? 0;
  search(element("search").value);
  setIteration(model.last);
  key();
}

function start() {
  makeRamps();
  element("trees").innerHTML = data.trees.map((t, i) => {
    const p = data.problems[t.problem];
    return `<option value="${i}">${escape(p.id || p.key)} · ${t.kind} · step ${t.step} · ${t.parent.length} nodes</option>`;
  }).join("");
  const fromHash = () => { const i = +(location.hash.match(/^#t(\d+)$/) || [0, 0])[1]; show(i < data.trees.length ? i : 0); };
  window.addEventListener("hashchange", fromHash);
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { makeRamps(); key(); panel(); redraw(); });
  element("trees").addEventListener("change", (e) => { location.hash = "t" + e.target.value; });
  element("colour").addEventListener("change", () => { key(); redraw(); });
  element("tokens").addEventListener("change", panel);
  element("search").addEventListener("input", (e) => search(e.target.value));
  element("search").addEventListener("keydown", (e) => { if (e.key === "Enter") nextMatch(e.shiftKey ? -1 : 1); });
  element("fit").addEventListener("click", () => { view.fit(); redraw(); });
  element("open").addEventListener("click", () => { view.unfoldAll(); redraw(); });
  element("close").addEventListener("click", () => { view.foldRest(); redraw(); });
  element("slider").addEventListener("input", (e) => { play(false); setIteration(+e.target.value); });
  element("play").addEventListener("click", () => play());
  element("side").addEventListener("click", (e) => {
    const at = e.target.closest("[data-node]");
    if (at) { e.preventDefault(); select(+at.dataset.node, true); }
  });
  mouse(view.canvas);
  document.addEventListener("keydown", keys);
  fromHash();
  drawNow();
  window.deepsearch.renderMs = performance.now() - began;
  window.deepsearch.ready = true;
}

function keys(e) {
  if (e.target.tagName === "INPUT" && e.target.type === "search") { if (e.key === "Escape") e.target.blur(); return; }
  const moves = {ArrowLeft: () => model.parent[view.selected], ArrowRight: () => model.children[Math.max(view.selected, 0)][0],
    ArrowDown: () => sibling(1), ArrowUp: () => sibling(-1)};
  if (e.key === "/") { e.preventDefault(); element("search").focus(); }
  else if (e.key === "p") play();
  else if (e.key === "0") { view.fit(); redraw(); }
  else if (e.key === " " && view.selected >= 0) { e.preventDefault(); view.fold(view.selected); redraw(); }
  else if (e.key in moves && e.target.type !== "range") {
    const to = moves[e.key]();
    if (to !== undefined && to >= 0) { e.preventDefault(); select(to, true); }
  }
}
function sibling(by) {
  const above = model.parent[Math.max(view.selected, 0)];
  return above < 0 ? undefined : model.children[above][model.children[above].indexOf(view.selected) + by];
}

function mouse(canvas) {
  let from = null, moved = false;
  const at = (e) => { const box = canvas.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); view.zoom(Math.exp(-e.deltaY * 0.0015), ...at(e)); redraw(); }, {passive: false});
  canvas.addEventListener("pointerdown", (e) => { from = [...at(e), view.x, view.y]; moved = false; });
  window.addEventListener("pointerup", () => { from = null; });
  canvas.addEventListener("pointermove", (e) => {
    const [x, y] = at(e);
    if (from) {
      moved = moved || Math.hypot(x - from[0], y - from[1]) > 4;
      view.x = from[2] + x - from[0];
      view.y = from[3] + y - from[1];
      redraw();
      return;
    }
    const node = view.hit(x, y), tip = element("tip");
    tip.hidden = node < 0;
    if (node < 0) return;
    tip.textContent = `${(node ? model.text(node) : model.prompt).slice(0, 300)}\nN ${view.state.visits[node]}  Q ${short(view.meanValue(node))}  H ${short(model.entropy[node])}`;
    tip.style.left = Math.min(x + 14, view.size().width - 300) + "px";
    tip.style.top = y + 14 + "px";
  });
  canvas.addEventListener("pointerleave", () => { element("tip").hidden = true; });
  canvas.addEventListener("click", (e) => { if (!moved) { const node = view.hit(...at(e)); if (node >= 0) select(node); } });
  canvas.addEventListener("dblclick", (e) => { const node = view.hit(...at(e)); if (node >= 0) { view.fold(node); redraw(); } });
}

// For tests and the console.
window.deepsearch = {view, get model() { return model; }, data, show, drawNow, ready: false, renderMs: 0, drawMs: 0};
start();
