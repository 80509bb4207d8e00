// Layout and drawing: canvas, so that ten thousand nodes stay fluent. Depth runs right, leaves run down.
"use strict";
const STEP_X = 90, STEP_Y = 18, RADIUS = 6;

class TreeView {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.scale = 1;
    this.x = this.y = 40;
  }

  show(model) {
    this.model = model;
    this.folded = new Uint8Array(model.n);
    this.selected = this.hovered = -1;
    this.matches = new Set();
    this.iteration = model.last;
    this.layout();
    this.at(model.last);
    this.fit();
  }

  at(iteration) {
    this.iteration = iteration;
    this.state = this.model.replay(iteration);
    this.recordedNow = new Set(this.state.recorded);
    this.showMade();
  }

  // Of the laid out nodes those that exist at this iteration: places stay put while the search is replayed.
  showMade() { this.visible = this.laid.filter((node) => this.model.created[node] <= this.iteration); }

  // Leaves get one row each in depth-first order, a parent the middle of its first and last child: O(n), no recursion.
  layout() {
    const {model, folded} = this, n = model.n;
    this.row = new Float32Array(n).fill(-1);
    this.laid = [];
    let rows = 0, deepest = 0;
    const stack = [0], spread = [];
    while (stack.length) {
      const node = stack.pop();
      this.laid.push(node);
      deepest = Math.max(deepest, model.depth[node]);
      const kids = folded[node] ? [] : model.children[node];
      if (kids.length) {
        spread.push(node, kids[0], kids[kids.length - 1]);
        for (let i = kids.length - 1; i >= 0; --i) stack.push(kids[i]);
      } else this.row[node] = rows++;
    }
    for (let i = spread.length - 3; i >= 0; i -= 3) {
      this.row[spread[i]] = (this.row[spread[i + 1]] + this.row[spread[i + 2]]) / 2;
    }
    this.rows = rows;
    this.deepest = deepest;
    this.showMade();
  }

  place(node) { return [this.x + this.model.depth[node] * STEP_X * this.scale, this.y + this.row[node] * STEP_Y * this.scaleY]; }
  get scaleY() { return this.scale * (this.squeeze ?? 1); }

  fit() {
    const {width, height} = this.size();
    const wide = (width - 80) / Math.max(this.deepest * STEP_X, 1), high = (height - 80) / Math.max(this.rows * STEP_Y, 1);
    this.scale = Math.min(wide, 1.6);
    this.squeeze = Math.min(1, Math.max(high, 1e-4) / this.scale);
    if (high > this.scale) this.squeeze = Math.min(high / this.scale, 2);
    this.x = 40;
    this.y = 40 + Math.max(0, (height - 80 - this.rows * STEP_Y * this.scaleY) / 2);
  }

  size() {
    const box = this.canvas.getBoundingClientRect();
    return {width: box.width || 800, height: box.height || 600};
  }

  zoom(factor, px, py) {
    const next = Math.min(Math.max(this.scale * factor, 0.002), 20);
    factor = next / this.scale;
    // Far out the rows are squeezed; zooming in brings them back to their own room first.
    const squeeze = Math.min(Math.max((this.squeeze ?? 1) * (factor > 1 && this.squeeze < 1 ? factor : 1), 1e-4), 2);
    const down = (next * squeeze) / this.scaleY;
    this.x = px - (px - this.x) * factor;
    this.y = py - (py - this.y) * down;
    this.scale = next;
    this.squeeze = squeeze;
  }

  centre(node) {
    const {width, height} = this.size(), [x, y] = this.place(node);
    this.x += width / 2 - x;
    this.y += height / 2 - y;
  }

  hit(px, py) {
    let best = -1, least = Math.max(this.radius(), 4) + 4;
    for (const node of this.visible) {
      const [x, y] = this.place(node), away = Math.hypot(x - px, y - py);
      if (away < least) [best, least] = [node, away];
    }
    return best;
  }

  radius() { return Math.max(1.2, Math.min(RADIUS * this.scale, STEP_Y * this.scaleY * 0.42, 14)); }

  fold(node, folded = !this.folded[node]) {
    this.folded[node] = folded && this.model.children[node].length ? 1 : 0;
    this.layout();
  }

  unfoldAll() { this.folded.fill(0); this.layout(); }

  // Only the paths to recorded trajectories stay open.
  foldRest() {
    const open = new Uint8Array(this.model.n);
    for (const leaf of this.model.recorded) for (let i = leaf; i >= 0; i = this.model.parent[i]) open[i] = 1;
    for (let i = 0; i < this.model.n; ++i) this.folded[i] = !open[i] && this.model.children[i].length ? 1 : 0;
    this.layout();
  }

  reveal(node) {
    for (let i = this.model.parent[node]; i >= 0; i = this.model.parent[i]) this.folded[i] = 0;
    if (this.model.created[node] > this.iteration) this.at(this.model.last);
    this.layout();
  }

  meanValue(node) {
    const n = this.state.visits[node];
    return n ? this.state.value[node] / n : 0;
  }

  draw(colours, colourOf) {
    const ratio = window.devicePixelRatio || 1, {width, height} = this.size(), c = this.context;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    const seen = (y) => y > -30 && y < height + 30, radius = this.radius();
    this.edges(c, colours, width, height);
    this.drawn = 0;
    for (const node of this.visible) {
      const [x, y] = this.place(node);
      if (x < -30 || x > width + 30 || !seen(y)) continue;
      ++this.drawn;
      this.node(c, node, x, y, radius, colours, colourOf);
    }
  }

  edges(c, colours, width, height) {
    const {model} = this, plain = new Path2D(), heavy = new Path2D(), simple = this.visible.length > 4000;
    for (const node of this.visible) {
      if (!node) continue;
      const [x1, y1] = this.place(node), [x0, y0] = this.place(model.parent[node]);
      if (x1 < 0 || x0 > width || Math.max(y0, y1) < 0 || Math.min(y0, y1) > height) continue;
      const path = model.onPath[node] ? heavy : plain, mid = (x0 + x1) / 2;
      path.moveTo(x0, y0);
      if (simple) path.lineTo(x1, y1);
      else path.bezierCurveTo(mid, y0, mid, y1, x1, y1);
    }
    c.globalAlpha = 0.5;
    c.strokeStyle = colours.edge;
    c.lineWidth = simple && this.scaleY < 0.2 ? 0.4 : 1;
    c.stroke(plain);
    c.globalAlpha = 1;
    c.strokeStyle = colours.good;
    c.lineWidth = 3;
    c.stroke(heavy);
  }

  node(c, node, x, y, radius, colours, colourOf) {
    const {model} = this, fold = this.folded[node], mark = this.matches.has(node);
    c.beginPath();
    if (fold) c.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    else c.arc(x, y, radius, 0, 6.2832);
    c.fillStyle = colourOf(node);
    c.fill();
    if (radius > 2.5 || mark || node === this.selected) {
      c.strokeStyle = node === this.selected ? colours.ink : mark ? colours.accent : this.recordedNow.has(node) ? colours.good : colours.edge;
      c.lineWidth = node === this.selected || mark ? 3 : this.recordedNow.has(node) ? 2 : 0.8;
      c.stroke();
    }
    if (mark && radius <= 2.5) { c.fillStyle = colours.accent; c.fillRect(x - 3, y - 3, 6, 6); }
    if (model.terminal[node] && radius > 3.4 && model.outcome[node] <= 2) {
      const s = radius * 0.5, good = model.outcome[node] === 0;
      c.beginPath();
      if (good) { c.moveTo(x - s, y); c.lineTo(x - s * 0.2, y + s * 0.8); c.lineTo(x + s, y - s * 0.8); }
      else { c.moveTo(x - s, y - s); c.lineTo(x + s, y + s); c.moveTo(x + s, y - s); c.lineTo(x - s, y + s); }
      c.strokeStyle = colours.ink;
      c.lineWidth = 1.4;
      c.stroke();
    }
    if (STEP_Y * this.scaleY > 14 && STEP_X * this.scale > 110 && node) {
      c.fillStyle = colours.quiet;
      c.font = "11px ui-monospace, Menlo, Consolas, monospace";
      const room = Math.floor((STEP_X * this.scale - 3 * radius) / 7), text = model.text(node).replace(/\s+/g, " ");
      c.fillText(text.length > room ? text.slice(0, room - 1) + "…" : text, x + radius + 4, y - radius * 0.4 - 2);
    }
    if (fold && radius > 3) {
      c.fillStyle = colours.quiet;
      c.font = "11px system-ui, sans-serif";
      c.fillText("+" + model.children[node].length, x + radius + 3, y + 4);
    }
  }
}
