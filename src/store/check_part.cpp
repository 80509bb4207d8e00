// A part's tables: every row of /trees against the rows it refers to.
#include <algorithm>
#include <cmath>
#include <memory>

#include "core/error.h"
#include "store/check_file.h"
#include "store/part_rows.h"

namespace deepsearch {
namespace {

// Rows read at once: trees are gathered until they have this many nodes, tokens or events.
constexpr int64_t kBlockRows = 1 << 17;

struct Tables {
  std::unique_ptr<TableReader> trees, nodes, tokens, recorded, events;
  bool complete() const { return trees && nodes && tokens && recorded && events; }
};

struct Block {
  std::vector<NodeLine> nodes;
  std::vector<TokenLine> tokens;
  std::vector<RecordedLine> recorded;
  std::vector<EventLine> events;
};

class PartCheck {
 public:
  PartCheck(const Hdf5Place& place, const Tables& tables, const std::vector<TreeLine>& lines,
            const std::vector<uint64_t>& problem_keys, Findings& findings)
      : place_(place), tables_(tables), lines_(lines), problem_keys_(problem_keys), findings_(findings) {}

  void all() {
    for (size_t first = 0; first < lines_.size();) first = check_block(first);
  }

 private:
  size_t check_block(size_t first) {
    size_t end = first;
    int64_t rows = 0;
    while (end < lines_.size() && (end == first || rows < kBlockRows)) {
      const TreeLine& line = lines_[end++];
      rows += line.n_nodes + line.n_tokens + line.n_events;
    }
    const TreeLine& a = lines_[first];
    const TreeLine& b = lines_[end - 1];
    Block block;
    block.nodes = tables_.nodes->read<NodeLine>(a.first_node, b.first_node + b.n_nodes - a.first_node);
    block.tokens = tables_.tokens->read<TokenLine>(a.first_token, b.first_token + b.n_tokens - a.first_token);
    block.recorded =
        tables_.recorded->read<RecordedLine>(a.first_recorded, b.first_recorded + b.n_recorded - a.first_recorded);
    block.events = tables_.events->read<EventLine>(a.first_event, b.first_event + b.n_events - a.first_event);
    for (size_t row = first; row < end; ++row) check_tree(static_cast<int64_t>(row), a, block);
    return end;
  }

  void check_tree(int64_t row, const TreeLine& base, const Block& block) {
    const TreeLine& line = lines_[static_cast<size_t>(row)];
    const auto at = [](int64_t first, int64_t base_row) { return static_cast<size_t>(first - base_row); };
    check_problem(row, line);
    check_nodes(row, line, block.nodes.data() + at(line.first_node, base.first_node));
    const TokenLine* tokens = block.tokens.data() + at(line.first_token, base.first_token);
    for (int64_t i = 0; i < line.n_tokens; ++i) {
      if (tokens[i].id >= 0) continue;
      findings_.add(place_.at("/tokens/id"), "row {}: {}; a token id is 0 or more", line.first_token + i, tokens[i].id);
    }
    check_recorded(row, line, block.recorded.data() + at(line.first_recorded, base.first_recorded));
    check_events(row, line, block.events.data() + at(line.first_event, base.first_event));
  }

  void check_problem(int64_t row, const TreeLine& line) {
    const auto n = static_cast<int64_t>(problem_keys_.size());
    if (line.problem < 0 || line.problem >= n) {
      findings_.add(place_.at("/trees/problem"), "row {}: {}; /problems has {} rows", row, line.problem, n);
    } else if (problem_keys_[static_cast<size_t>(line.problem)] != line.problem_key) {
      findings_.add(place_.at("/trees/problem_key"), "row {}: {}; the problem of its row has {}", row, line.problem_key,
                    problem_keys_[static_cast<size_t>(line.problem)]);
    }
  }

  void check_nodes(int64_t row, const TreeLine& line, const NodeLine* nodes) {
    if (line.n_nodes == 0) {
      findings_.add(place_.at("/trees/n_nodes"), "row {}: 0; a tree has a root", row);
      return;
    }
    int64_t tokens = 0;
    int32_t depth = 0;
    for (int64_t id = 0; id < line.n_nodes; ++id) {
      const NodeLine& node = nodes[id];
      check_node(row, line, nodes, id);
      tokens += std::max(node.n_tokens, 0);
      depth = std::max(depth, node.depth);
    }
    if (tokens != line.n_tokens) {
      findings_.add(place_.at("/trees/n_tokens"), "row {}: {}; its nodes have {}", row, line.n_tokens, tokens);
    }
    if (depth != line.max_depth) {
      findings_.add(place_.at("/trees/max_depth"), "row {}: {}; its deepest node has {}", row, line.max_depth, depth);
    }
  }

  void check_node(int64_t row, const TreeLine& line, const NodeLine* nodes, int64_t id) {
    const NodeLine& node = nodes[id];
    const int64_t at = line.first_node + id;
    if (node.tree != row) findings_.add(place_.at("/nodes/tree"), "row {}: {}; expected {}", at, node.tree, row);
    const bool fits = id == 0 ? node.parent == -1 : node.parent >= 0 && node.parent < id;
    if (!fits) {
      findings_.add(
          place_.at("/nodes/parent"), "row {}: {}; expected {}", at, node.parent,
          id == 0 ? std::string("-1 at a root") : fmt::format("0 to {}, an earlier node of its tree", id - 1));
    }
    const int32_t depth = id == 0 || !fits ? 0 : nodes[node.parent].depth + 1;
    if (fits && node.depth != depth) {
      findings_.add(place_.at("/nodes/depth"), "row {}: {}; its parent's makes it {}", at, node.depth, depth);
    }
    const int64_t first = node.token_row - line.first_token;
    if (node.n_tokens < 0 || first < 0 || first + node.n_tokens > line.n_tokens) {
      findings_.add(place_.at("/nodes/first_token"), "row {}: {} and a count of {}; its tree has rows {} to {}", at,
                    node.token_row, node.n_tokens, line.first_token, line.first_token + line.n_tokens - 1);
    }
  }

  void check_recorded(int64_t row, const TreeLine& line, const RecordedLine* recorded) {
    int64_t correct = 0;
    double sum = 0;
    for (int64_t i = 0; i < line.n_recorded; ++i) {
      const int64_t at = line.first_recorded + i;
      check_owner("/recorded", at, recorded[i].tree, row);
      check_node_id("/recorded/leaf", at, recorded[i].leaf, 0, line.n_nodes);
      correct += recorded[i].outcome == Outcome::kCorrect ? 1 : 0;
      sum += recorded[i].reward;
    }
    if (correct != line.n_correct) {
      findings_.add(place_.at("/trees/n_correct"), "row {}: {}; its recorded trajectories have {}", row, line.n_correct,
                    correct);
    }
    const double mean = sum / static_cast<double>(line.n_recorded);
    const bool same = std::isfinite(mean) ? std::abs(mean - line.mean_reward) <= 1e-9 * std::max(1.0, std::abs(mean))
                                          : !std::isfinite(line.mean_reward);
    if (!same) {
      findings_.add(place_.at("/trees/mean_reward"), "row {}: {}; its recorded trajectories have {}", row,
                    line.mean_reward, mean);
    }
  }

  void check_events(int64_t row, const TreeLine& line, const EventLine* events) {
    for (int64_t i = 0; i < line.n_events; ++i) {
      check_owner("/events", line.first_event + i, events[i].tree, row);
      check_node_id("/events/node", line.first_event + i, events[i].node, -1, line.n_nodes);
    }
  }

  void check_owner(const std::string& table, int64_t at, int64_t tree, int64_t row) {
    if (tree != row) findings_.add(place_.at(table + "/tree"), "row {}: {}; expected {}", at, tree, row);
  }
  void check_node_id(const std::string& column, int64_t at, int64_t node, int64_t least, int64_t n_nodes) {
    if (node >= least && node < n_nodes) return;
    findings_.add(place_.at(column), "row {}: {}; its tree has the nodes 0 to {}", at, node, n_nodes - 1);
  }

  const Hdf5Place& place_;
  const Tables& tables_;
  const std::vector<TreeLine>& lines_;
  const std::vector<uint64_t>& problem_keys_;
  Findings& findings_;
};

// Rows that no tree refers to: what a kill leaves, an error in a closed file.
void keep_rows(const Hdf5Place& place, const char* path, const TableReader& table, int64_t used, bool cut,
               Findings& findings, FileFacts& facts) {
  facts.rows[path] = used;
  for (size_t i = 0; i < table.schema().columns.size(); ++i) facts.left_rows += table.column_lines(i) - used;
  if (!cut && table.lines() != used) {
    findings.add(place.at(path), "{} rows, of which trees refer to the first {}", table.lines(), used);
  }
}

}  // namespace

void check_part_tables(hid_t file, const Hdf5Place& place, uint64_t file_bytes, bool cut, Findings& findings,
                       InnerReport& inner) {
  const auto table = [&](const char* path) {
    return open_table(file, place, table_schema(part_tables(), path), file_bytes, cut, findings);
  };
  Tables tables;
  tables.trees = table("/trees");  // first: in a live file the others may grow meanwhile, and this one does not
  tables.nodes = table("/nodes");
  tables.tokens = table("/tokens");
  tables.recorded = table("/recorded");
  tables.events = table("/events");
  check_problems(file, place, part_tables(), file_bytes, cut, findings, inner.facts);
  if (!tables.complete()) return;
  std::vector<TreeLine> lines = tables.trees->read<TreeLine>(0, tables.trees->lines());
  const WholeTrees whole = whole_trees(
      lines, {tables.nodes->lines(), tables.tokens->lines(), tables.recorded->lines(), tables.events->lines()});
  if (!cut && !whole.why.empty()) {
    findings.add(place.at("/trees"), "{}", whole.why);
    return;
  }
  lines.resize(whole.rows);
  FileFacts& facts = inner.facts;
  keep_rows(place, "/trees", *tables.trees, static_cast<int64_t>(whole.rows), true, findings, facts);
  keep_rows(place, "/nodes", *tables.nodes, whole.used.nodes, cut, findings, facts);
  keep_rows(place, "/tokens", *tables.tokens, whole.used.tokens, cut, findings, facts);
  keep_rows(place, "/recorded", *tables.recorded, whole.used.recorded, cut, findings, facts);
  keep_rows(place, "/events", *tables.events, whole.used.events, cut, findings, facts);
  inner.report.contents = fmt::format("{} trees, {} nodes, {} tokens, {} recorded trajectories, {} events, {} problems",
                                      whole.rows, whole.used.nodes, whole.used.tokens, whole.used.recorded,
                                      whole.used.events, facts.problem_keys.size());
  PartCheck(place, tables, lines, facts.problem_keys, findings).all();
}

}  // namespace deepsearch
