#include "search/text_tree.h"

#include <iterator>
#include <vector>

#include <fmt/format.h>

namespace deepsearch {

namespace {

std::string one_line(const std::string& text, int64_t max_bytes) {
  std::string line;
  for (const char c : text) {
    if (c == '\n') {
      line += "⏎";
    } else if (c != '\r') {
      line += c == '\t' ? ' ' : c;
    }
  }
  if (max_bytes <= 0 || static_cast<int64_t>(line.size()) <= max_bytes) return line;
  auto cut = static_cast<size_t>(max_bytes);
  while (cut > 0 && (static_cast<unsigned char>(line[cut]) & 0xC0U) == 0x80U) --cut;  // not inside a character
  return line.substr(0, cut) + "…";
}

std::string ordinal(size_t n) {
  const size_t tens = n % 100;
  if (tens >= 11 && tens <= 13) return fmt::format("{}th", n);
  switch (n % 10) {
    case 1:
      return fmt::format("{}st", n);
    case 2:
      return fmt::format("{}nd", n);
    case 3:
      return fmt::format("{}rd", n);
    default:
      return fmt::format("{}th", n);
  }
}

std::string node_line(const NodeRecord& node, int32_t id, const std::string& mark, const std::string& text) {
  std::string line(static_cast<size_t>(node.depth) * 2, ' ');
  const double mean = node.visits > 0 ? node.value / node.visits : 0;
  fmt::format_to(std::back_inserter(line), "#{} d{}  N {}  Q {:.3f}  q {:.3f}", id, node.depth, node.visits, mean,
                 node.value);
  if (node.parent >= 0) fmt::format_to(std::back_inserter(line), "  H {:.3f}", node.entropy);
  fmt::format_to(std::back_inserter(line), "  it {}", node.created);
  if (node.expanded >= 0) fmt::format_to(std::back_inserter(line), ">{}", node.expanded);
  if (node.terminal) fmt::format_to(std::back_inserter(line), "  {}", to_string(node.outcome));
  if (!mark.empty()) fmt::format_to(std::back_inserter(line), "  [{}]", mark);
  if (node.parent >= 0) fmt::format_to(std::back_inserter(line), "  | {}", text);
  line += '\n';
  return line;
}

std::string header(const TreeRecord& record) {
  return fmt::format("{} of {} {}: {} nodes, {} recorded, {} iterations, {} tokens, stopped: {}\n",
                     to_string(record.kind), record.problem.source, record.problem.id, record.nodes.size(),
                     record.recorded.size(), record.iterations, record.tokens_generated, to_string(record.stop_reason));
}

}  // namespace

std::string text_tree(const TreeRecord& record, const std::function<std::string(TokenSpan)>& decode,
                      const TextTreeOptions& options) {
  std::vector<std::vector<int32_t>> children(record.nodes.size());
  std::vector<std::string> marks(record.nodes.size());
  for (size_t id = 0; id < record.nodes.size(); ++id) {
    const int32_t parent = record.nodes[id].parent;
    if (parent >= 0) children.at(static_cast<size_t>(parent)).push_back(static_cast<int32_t>(id));
  }
  for (size_t i = 0; i < record.recorded.size(); ++i) {
    const RecordedLeaf& leaf = record.recorded[i];
    marks.at(static_cast<size_t>(leaf.leaf)) = ordinal(i + 1) + (leaf.leftover ? "*" : "");
  }
  std::string text = header(record);
  if (!record.problem.prompt.empty()) text += "problem: " + one_line(record.problem.prompt, options.max_text) + "\n";
  std::vector<int32_t> stack;
  if (!record.nodes.empty()) stack.push_back(0);
  int64_t shown = 0;
  while (!stack.empty()) {
    const int32_t id = stack.back();
    stack.pop_back();
    const auto place = static_cast<size_t>(id);
    const NodeRecord& node = record.nodes[place];
    if (options.max_nodes > 0 && shown == options.max_nodes) {
      fmt::format_to(std::back_inserter(text), "… {} more nodes\n", static_cast<int64_t>(record.nodes.size()) - shown);
      break;
    }
    ++shown;
    const TokenSpan tokens =
        TokenSpan(record.tokens).subspan(static_cast<size_t>(node.first_token), static_cast<size_t>(node.n_tokens));
    text += node_line(node, id, marks[place], one_line(decode(tokens), options.max_text));
    stack.insert(stack.end(), children[place].rbegin(), children[place].rend());
  }
  return text;
}

}  // namespace deepsearch
