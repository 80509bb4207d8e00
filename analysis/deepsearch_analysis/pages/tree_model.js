// The data of one tree: children, texts, and N and q at any iteration, replayed from the events.
"use strict";
const EVENTS = ["expand", "pick", "backup", "select_local", "select_frontier", "select_uct", "select_deepest",
  "leftover", "stop"];
const [EXPAND, PICK, BACKUP, LEFTOVER, STOP] = [0, 1, 2, 7, 8];
const WHY = {
  select_local: "best child by UCT", select_frontier: "highest frontier score", select_uct: "end of a walk by UCT",
  select_deepest: "deepest frontier node",
};
const isSelect = (kind) => kind >= 3 && kind <= 6;

class TreeModel {
  constructor(tree, data) {
    Object.assign(this, tree);
    this.rules = data.rules;
    this.vocabulary = data.vocabulary;
    this.joint = data.joint;
    const n = this.parent.length;
    this.n = n;
    this.children = Array.from({length: n}, () => []);
    for (let i = 1; i < n; ++i) this.children[this.parent[i]].push(i);
    this.order = new Map(this.recorded.map((leaf, place) => [leaf, place]));
    this.onPath = new Uint8Array(n);
    const best = this.recorded.find((leaf) => this.outcome[leaf] === 0);
    for (let i = best === undefined ? -1 : best; i >= 0; i = this.parent[i]) this.onPath[i] = 1;
    this.picks = new Map();
    for (let e = 0; e < this.events.kind.length; ++e) {
      const kind = this.events.kind[e];
      if (!isSelect(kind)) continue;
      const node = this.events.node[e];
      if (!this.picks.has(node)) this.picks.set(node, []);
      this.picks.get(node).push({why: EVENTS[kind], iteration: this.events.iteration[e], score: this.events.score[e]});
    }
    this.last = Math.max(this.iterations, ...this.events.iteration.slice(-1), 0);
  }

  piece(token) { return this.vocabulary[token] ?? "#" + token; }

  text(node) {
    const ids = this.tokens.id.slice(this.first[node], this.first[node] + this.count[node]);
    return ids.map((t) => this.piece(t)).join(this.joint);
  }

  // Lower-case texts of all nodes, made at the first search.
  texts() {
    this.lower ??= Array.from({length: this.n}, (_, i) => (i ? this.text(i) : this.prompt).toLowerCase());
    return this.lower;
  }

  path(node) {
    const nodes = [];
    for (let i = node; i > 0; i = this.parent[i]) nodes.push(i);
    return nodes.reverse();
  }

  // N and q after `limit` iterations, by the search's own rules; the search's stored result when it is over.
  replay(limit) {
    if (limit >= this.last || this.kind !== "tree") return {visits: this.visits, value: this.value, recorded: this.recorded};
    return this.replayed(limit);
  }

  replayed(limit) {
    const visits = new Int32Array(this.n), value = new Float64Array(this.n), recorded = [];
    const {iteration, kind, node, score} = this.events;
    let chosen = -1, seen = -1;
    const visitChildren = (at) => {
      for (const child of this.children[at]) if (!this.terminal[child] && this.created[child] <= seen) ++visits[child];
    };
    // Iteration i works on one node: the one it expands, or (without an expansion) the one selected again.
    const pending = new Map();
    for (let e = 0; e < kind.length; ++e) {
      if (iteration[e] > limit) break;
      seen = iteration[e];
      if (isSelect(kind[e])) {
        chosen = node[e];
        pending.set(chosen, true);
      } else if (kind[e] === EXPAND) {
        pending.delete(node[e]);
        visitChildren(node[e]);
      } else if (kind[e] === BACKUP) {
        const above = this.parent[node[e]];
        if (pending.has(above) && this.children[above].some((c) => this.created[c] < seen)) {
          pending.delete(above);
          visitChildren(above);
        }
        this.backUp(node[e], score[e], visits, value);
        recorded.push(node[e]);
      }
    }
    return {visits, value, recorded};
  }

  backUp(leaf, reward, visits, value) {
    const {gamma_min: least, backup} = this.rules, deep = this.depth[leaf] + 1;
    for (let i = leaf; i >= 0; i = this.parent[i]) {
      ++visits[i];
      if (reward === 0) continue;
      const gain = Math.max((this.depth[i] + 1) / deep, least) * reward, q = value[i];
      if (q === 0) value[i] = gain;
      else if (q > 0 === reward > 0 || backup === "simple") value[i] = q + gain;
      else if (reward > 0) value[i] = gain;
    }
  }

  // The last event up to an iteration, in words.
  eventAt(limit) {
    const out = [];
    for (let e = this.events.kind.length - 1; e >= 0 && this.events.iteration[e] >= limit; --e) {
      if (this.events.iteration[e] > limit) continue;
      const kind = EVENTS[this.events.kind[e]], node = this.events.node[e], score = this.events.score[e];
      out.push(node < 0 ? `${kind}` : `${kind} ${node} (${+score.toPrecision(4)})`);
    }
    return out.reverse().join(", ");
  }
}
