#include "run/checkpoint_optimizer.h"

#include <algorithm>
#include <memory>
#include <regex>
#include <span>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/json_reader.h"
#include "model/safetensors.h"

namespace deepsearch {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kLayoutBytes = 64 << 20;
constexpr int64_t kMostParts = 1 << 20;
constexpr int64_t kMostValues = int64_t{1} << 48;
constexpr const char* kColumns[] = {"master", "mean", "variance"};

fs::path part_file(const fs::path& checkpoint, int64_t part, int64_t parts, const char* suffix) {
  return checkpoint / "resume" / fmt::format("learner-{:02}-of-{:02}.{}", part, parts, suffix);
}

// A stretch of the flat buffer that one part holds.
struct Stretch {
  int64_t begin = 0;  // in the flat buffer
  int64_t size = 0;
  int64_t part = 0;
  int64_t own = 0;  // in the part
};

// In the order of the flat buffer.
std::vector<Stretch> stretches_of(const OptimizerState& layout) {
  std::vector<Stretch> stretches;
  int64_t begin = 0;
  int64_t own = 0;
  for (const int64_t bucket : layout.buckets) {
    const int64_t size = bucket / layout.ranks;
    for (int64_t part = 0; part < layout.ranks; ++part) stretches.push_back({begin + part * size, size, part, own});
    begin += bucket;
    own += size;
  }
  return stretches;
}

int64_t values_of_a_part(const OptimizerState& layout) {
  int64_t values = 0;
  for (const int64_t bucket : layout.buckets) values += bucket / layout.ranks;
  return values;
}

std::vector<int64_t> integers(const JsonReader& reader, const char* key) {
  const nlohmann::json* list = reader.find(key);
  if (list == nullptr || !list->is_array()) bad_input("{}: no list \"{}\"", reader.where(), key);
  std::vector<int64_t> values;
  for (const nlohmann::json& value : *list) {
    if (!value.is_number_integer()) bad_input("{}: \"{}\" holds {}", reader.where(), key, shown(value));
    const auto number = value.get<int64_t>();
    if (number < 0 || number > kMostValues) bad_input("{}: \"{}\" holds {}", reader.where(), key, number);
    values.push_back(number);
  }
  return values;
}

void check_layout(const OptimizerState& layout, const std::string& where) {
  if (layout.ranks < 1 || layout.ranks > kMostParts || layout.rank < 0 || layout.rank >= layout.ranks) {
    bad_input("{}: part {} of {}", where, layout.rank, layout.ranks);
  }
  if (layout.updates < 0 || layout.skipped_in_a_row < 0) bad_input("{}: after {} updates", where, layout.updates);
  int64_t total = 0;
  for (const int64_t bucket : layout.buckets) {
    total += bucket;
    if (bucket % layout.ranks != 0 || total > kMostValues) {
      bad_input("{}: a bucket of {} values for {} parts", where, bucket, layout.ranks);
    }
  }
  if (layout.parameters.size() != layout.offsets.size()) {
    bad_input("{}: {} parameters and {} offsets", where, layout.parameters.size(), layout.offsets.size());
  }
  int64_t at = 0;
  for (size_t p = 0; p < layout.parameters.size(); ++p) {
    if (layout.offsets[p] < at || layout.offsets[p] > total || layout.parameters[p] > total - layout.offsets[p]) {
      bad_input("{}: parameter {} does not lie in the buckets", where, p);
    }
    at = layout.offsets[p] + layout.parameters[p];
  }
}

OptimizerState read_layout(const fs::path& path) {
  const JsonReader reader = JsonReader::parse(read_file(path, kLayoutBytes), path.string());
  OptimizerState layout;
  layout.updates = reader.integer("updates");
  layout.skipped_in_a_row = reader.integer("skipped_in_a_row");
  layout.rank = reader.integer("part");
  layout.ranks = reader.integer("parts");
  layout.parameters = integers(reader, "parameters");
  layout.offsets = integers(reader, "offsets");
  layout.buckets = integers(reader, "buckets");
  check_layout(layout, path.string());
  return layout;
}

struct Parts {
  OptimizerState layout;
  std::vector<std::unique_ptr<SafetensorsFile>> files;  // by part
};

Parts open_parts(const fs::path& checkpoint) {
  const int64_t parts = optimizer_parts(checkpoint);
  Parts opened;
  for (int64_t part = 0; part < parts; ++part) {
    const fs::path path = part_file(checkpoint, part, parts, "json");
    OptimizerState layout = read_layout(path);
    if (layout.rank != part || layout.ranks != parts) {
      bad_input("{}: holds part {} of {}", path.string(), layout.rank, layout.ranks);
    }
    if (part == 0) opened.layout = layout;
    const OptimizerState& first = opened.layout;
    if (std::tie(layout.updates, layout.parameters, layout.offsets, layout.buckets) !=
        std::tie(first.updates, first.parameters, first.offsets, first.buckets)) {
      bad_input("{}: does not belong to part 0", path.string());
    }
    opened.files.push_back(std::make_unique<SafetensorsFile>(part_file(checkpoint, part, parts, "safetensors")));
  }
  return opened;
}

// `count` values of a column from `from` of the flat buffer on.
void copy_flat(const std::vector<Stretch>& stretches, const std::vector<TensorView>& parts, int64_t from,
               std::span<float> out) {
  auto stretch = std::upper_bound(stretches.begin(), stretches.end(), from,
                                  [](int64_t at, const Stretch& s) { return at < s.begin; });
  --stretch;
  while (!out.empty()) {
    const int64_t into = from - stretch->begin;
    const auto n = static_cast<size_t>(std::min<int64_t>(stretch->size - into, static_cast<int64_t>(out.size())));
    parts[static_cast<size_t>(stretch->part)].read(stretch->own + into, out.first(n));
    out = out.subspan(n);
    from += static_cast<int64_t>(n);
    ++stretch;
  }
}

std::vector<float> read_column(const Parts& saved, const std::string& name, const OptimizerState& mine) {
  std::vector<TensorView> views;
  const int64_t values = values_of_a_part(saved.layout);
  for (const auto& file : saved.files) views.push_back(file->view(name, {values}));
  std::vector<Stretch> source = stretches_of(saved.layout);
  std::erase_if(source, [](const Stretch& stretch) { return stretch.size == 0; });
  std::vector<float> column(static_cast<size_t>(values_of_a_part(mine)));  // padding stays zero
  for (const Stretch& stretch : stretches_of(mine)) {
    if (stretch.part != mine.rank) continue;
    for (size_t p = 0; p < mine.parameters.size(); ++p) {
      const int64_t begin = std::max(stretch.begin, mine.offsets[p]);
      const int64_t end = std::min(stretch.begin + stretch.size, mine.offsets[p] + mine.parameters[p]);
      if (begin >= end) continue;
      const auto out = std::span(column).subspan(static_cast<size_t>(stretch.own + begin - stretch.begin),
                                                 static_cast<size_t>(end - begin));
      copy_flat(source, views, saved.layout.offsets[p] + begin - mine.offsets[p], out);
    }
  }
  return column;
}

}  // namespace

void write_optimizer_state(const fs::path& checkpoint, const OptimizerState& state) {
  const nlohmann::ordered_json layout = {{"updates", state.updates},
                                         {"skipped_in_a_row", state.skipped_in_a_row},
                                         {"part", state.rank},
                                         {"parts", state.ranks},
                                         {"parameters", state.parameters},
                                         {"offsets", state.offsets},
                                         {"buckets", state.buckets}};
  write_file_atomically(part_file(checkpoint, state.rank, state.ranks, "json"), layout.dump(1) + "\n");
  const auto values = static_cast<int64_t>(state.master.size());
  std::vector<TensorShape> tensors;
  for (const char* name : kColumns) tensors.push_back({name, {values}});
  SafetensorsWriter writer(part_file(checkpoint, state.rank, state.ranks, "safetensors"), tensors, DType::kF32);
  const std::vector<float>* columns[] = {&state.master, &state.mean, &state.variance};
  for (size_t i = 0; i < tensors.size(); ++i) {
    writer.append({.name = &tensors[i].name,
                   .type = DType::kF32,
                   .shape = tensors[i].shape,
                   .data = reinterpret_cast<const std::byte*>(columns[i]->data()),
                   .count = static_cast<int64_t>(columns[i]->size())});
  }
  writer.publish();
}

int64_t optimizer_parts(const fs::path& checkpoint) {
  static const std::regex pattern(R"(learner-(\d{2,7})-of-(\d{2,7})\.json)");
  int64_t parts = 0;
  int64_t found = 0;
  const fs::path folder = checkpoint / "resume";
  if (!fs::is_directory(folder)) bad_input("{}: not there", folder.string());
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    std::smatch match;
    if (!std::regex_match(name, match, pattern)) continue;
    const int64_t of = std::stoll(match[2]);
    if (parts != 0 && of != parts) bad_input("{}: parts of {} and of {} learners", folder.string(), parts, of);
    parts = of;
    ++found;
  }
  if (parts == 0 || found != parts) {
    bad_input("{}: {} of {} parts of the optimiser's state (learner-00-of-NN.json …)", folder.string(), found, parts);
  }
  return parts;
}

OptimizerState read_optimizer_state(const fs::path& checkpoint, const OptimizerState& mine) {
  const Parts saved = open_parts(checkpoint);
  if (saved.layout.parameters != mine.parameters) {
    bad_input("{}: the optimiser's state is of {} parameters of other sizes than the model's {}", checkpoint.string(),
              saved.layout.parameters.size(), mine.parameters.size());
  }
  OptimizerState state = mine;
  state.updates = saved.layout.updates;
  state.skipped_in_a_row = saved.layout.skipped_in_a_row;
  state.master = read_column(saved, "master", mine);
  state.mean = read_column(saved, "mean", mine);
  state.variance = read_column(saved, "variance", mine);
  return state;
}

}  // namespace deepsearch
