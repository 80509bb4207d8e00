#include "measure/plan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "core/error.h"
#include "engine/engine.h"
#include "model/weights.h"
#include "run/flat_weights.h"

namespace deepsearch {

namespace {

constexpr double kFloat = 4;
constexpr double kProgram = 4e8;  // resident of the program and LibTorch, measured; a GPU's part is reserved_gb
constexpr double kGiga = 1e9;

double parameters(const PlanInput& input) {
  return static_cast<double>(parameter_count(input.model));
}

double compute_bytes(const LearnParams& learn) {
  return learn.compute == Compute::kBf16 ? 2 : 4;
}
const char* compute_name(const LearnParams& learn) {
  return learn.compute == Compute::kBf16 ? "bf16" : "fp32";
}

// Ranks that share the master weights and moments.
double shards(const PlanInput& input) {
  return input.learn.shard_optimizer ? static_cast<double>(input.learners) : 1;
}

// Values a layer keeps for its backward pass, for a token: its two inputs (the residual stream) and their norms, q, k
// and v, what attention mixed, gate and up, SiLU of the gate, their product.
double layer_values(const ModelConfig& m) {
  const auto queries = static_cast<double>(m.n_heads * m.head_dim);
  const auto keys = static_cast<double>(m.n_kv_heads * m.head_dim);
  return 4 * static_cast<double>(m.hidden_size) + 2 * queries + 2 * keys + 4 * static_cast<double>(m.intermediate_size);
}

// Gradients that lie beside these at the peak of a layer's backward pass: of the product, of gate and up, and of two
// residual-sized tensors.
double backward_values(const ModelConfig& m) {
  return 3 * static_cast<double>(m.intermediate_size) + 2 * static_cast<double>(m.hidden_size);
}

double microbatch_tokens(const PlanInput& input) {
  return std::max(static_cast<double>(input.learn.tokens_per_microbatch), input.work.longest_row);
}

// Padded rows are not checkpointed (decoder.h).
bool checkpoints(const LearnParams& learn) {
  return learn.checkpoint_activations && learn.packing == Packing::kTree;
}

double activation_bytes(const PlanInput& input) {
  const ModelConfig& m = input.model;
  const auto layers = static_cast<double>(m.n_layers);
  const auto hidden = static_cast<double>(m.hidden_size);
  const double kept = checkpoints(input.learn) ? layers * hidden + layer_values(m) : layers * layer_values(m);
  // Beside the layers: the final norm's input and output, and their gradients.
  const double values = kept + backward_values(m) + 4 * hidden;
  return microbatch_tokens(input) * values * compute_bytes(input.learn);
}

// q, k, v and gate, up are joined for one product each; autograd keeps the joined matrices of every layer, or of the
// one that is computed again.
double joined_bytes(const PlanInput& input) {
  const ModelConfig& m = input.model;
  const auto columns = static_cast<double>((m.n_heads + 2 * m.n_kv_heads) * m.head_dim + 2 * m.intermediate_size);
  const double layers = checkpoints(input.learn) ? 1 : static_cast<double>(m.n_layers);
  return layers * columns * static_cast<double>(m.hidden_size) * compute_bytes(input.learn);
}

// A chunk's logits and what is made of them (head.h): values, a copy in fp32 where they are bf16, the gradient.
double logits_bytes(const PlanInput& input) {
  constexpr double kChunkOnHost = 1 << 22;
  constexpr double kChunkOnGpu = 1 << 28;
  constexpr double kLeastRows = 64;
  const auto vocabulary = static_cast<double>(input.model.vocab_size);
  const double chunk = std::max(kLeastRows * vocabulary, input.hardware.gpu ? kChunkOnGpu : kChunkOnHost);
  const double values = std::min(chunk, microbatch_tokens(input) * vocabulary);
  return values * (input.hardware.gpu ? 4 * kFloat : 2 * kFloat);
}

bool engine_on_gpu(const PlanInput& input) {
  return input.hardware.gpu && input.engine.device != "cpu";
}

// Bytes of an engine's weight: the number format, and for int8 the groups' scales.
double engine_weight_bytes(const PlanInput& input) {
  const std::string& type = input.engine.weights;
  if (type == "int8") return 1 + 4.0 / 64;
  if (type == "fp32") return 4;
  if (type == "auto") return engine_on_gpu(input) ? 2 : 4;
  return 2;
}

std::string engine_weight_name(const PlanInput& input) {
  if (input.engine.weights != "auto") return input.engine.weights;
  return engine_on_gpu(input) ? "bf16" : "fp32";
}

double pass_bytes(const PlanInput& input) {
  constexpr double kLogitRows = 256;
  const ModelConfig& m = input.model;
  const auto rows = static_cast<double>(batch_of(input) + input.engine.prefill_chunk);
  const auto heads = static_cast<double>((2 * m.n_heads + 2 * m.n_kv_heads) * m.head_dim);
  const double row = kFloat * static_cast<double>(m.hidden_size) +
                     (engine_on_gpu(input) ? 2 : 4) *
                         (static_cast<double>(m.hidden_size) + heads + 3 * static_cast<double>(m.intermediate_size));
  return rows * row + kLogitRows * kFloat * static_cast<double>(m.vocab_size);
}

}  // namespace

int64_t batch_of(const PlanInput& input) {
  return decode_batch(input.engine, input.model, engine_on_gpu(input));
}

Workload workload_of(const SearchParams& search, double prompt_tokens, double response_tokens, double new_share) {
  Workload work;
  const auto step = static_cast<double>(search.step_tokens);
  const double most = static_cast<double>(search.max_depth) * step;
  work.prompt_tokens = prompt_tokens;
  work.response_tokens = std::min(response_tokens, most);
  work.longest_row = prompt_tokens + most;
  const bool trees = search.when != When::kNever;
  const double rollouts = search.when == When::kAlways ? 0 : static_cast<double>(search.group) * work.response_tokens;
  work.trajectories = static_cast<double>(trees ? search.trajectories : search.group);
  work.new_share = trees ? new_share : 1;
  work.read_together = trees ? static_cast<double>(search.width) : 1;
  work.sequences = static_cast<double>(trees ? search.width * search.frontier_batch : search.group);
  const double steps = std::ceil(work.response_tokens / step);
  const double expansions = steps * (1 + (work.trajectories - 1) * work.new_share);
  double grown = trees ? expansions * static_cast<double>(search.width) * step : 0;
  if (search.token_budget > 0) grown = std::min(grown, static_cast<double>(search.token_budget));
  work.generated_tokens = rollouts + grown;
  return work;
}

double RankMemory::bytes() const {
  double sum = 0;
  for (const MemoryTerm& term : terms) sum += term.bytes;
  return sum;
}

double kv_bytes_per_token(const PlanInput& input) {
  const double value = !engine_on_gpu(input) || input.engine.weights == "fp32" ? 4 : 2;
  return 2 * value * static_cast<double>(input.model.n_layers * input.model.n_kv_heads * input.model.head_dim);
}

RankMemory learner_memory(const PlanInput& input) {
  const LearnParams& learn = input.learn;
  const double n = parameters(input);
  const double width = compute_bytes(learn);
  const bool bf16 = learn.compute == Compute::kBf16;
  const std::string shared = shards(input) > 1 ? fmt::format("1/{:.0f}: learn.shard_optimizer", shards(input)) : "";
  RankMemory memory;
  const auto add = [&memory](const std::string& name, double bytes, const std::string& from) {
    if (bytes > 0) memory.terms.push_back({name, bytes, from});
  };
  add(fmt::format("weights, {}", compute_name(learn)), n * width, "learn.compute");
  add("master weights, fp32", bf16 ? kFloat * n / shards(input) : 0, shared);
  add("gradients", n * width, "");
  // bf16 gradients are summed in fp32, fp32 ones on a host in fp64; on a GPU fp32 gradients add up where they are.
  add("gradient sums over micro-batches", bf16 ? kFloat * n : input.hardware.gpu ? 0 : 2 * kFloat * n, "");
  add("AdamW's moments, fp32", 2 * kFloat * n / shards(input), shared);
  add("reference policy", learn.kl_coef > 0 ? n * width : 0, "learn.kl_coef");
  add("rotation tables", width * static_cast<double>(input.model.max_positions * input.model.head_dim), "");
  // On a host these lie beside them.
  add("last published weights", input.hardware.gpu ? 0 : kFloat * n, "");
  const bool held = !input.hardware.gpu && input.hold_state && input.learners == 1;
  add("optimiser's state at the step boundary", held ? 3 * kFloat * n : 0, "run.hold_state");
  add("program and libraries", input.hardware.gpu ? 0 : kProgram, "");
  const double activations = activation_bytes(input);
  const double logits = logits_bytes(input);
  const double joined = joined_bytes(input);
  add("activations of a micro-batch", activations,
      fmt::format("learn.tokens_per_microbatch{}", checkpoints(learn) ? ", checkpoint_activations" : ""));
  add("joined matrices", joined, "");
  add("logits of a chunk", logits, "");
  // New weights, and where they are sent as bf16 those too, when the activations are gone.
  const bool sent_narrow = !input.one_rank && type_sent(input.engine) != DType::kF32;
  const double publishing = input.hardware.gpu ? 0 : (kFloat + (sent_narrow ? 2 : 0)) * n;
  add("publishing, beyond the micro-batch", std::max(0.0, publishing - activations - joined - logits), "");
  return memory;
}

RankMemory search_memory(const PlanInput& input, double room) {
  const double n = parameters(input);
  RankMemory memory;
  memory.terms.push_back(
      {fmt::format("weights, {}", engine_weight_name(input)), n * engine_weight_bytes(input), "engine.weights"});
  // As they came; the next ones take their place. They stay in the host's memory where the engine is on a GPU.
  if (!engine_on_gpu(input) && !input.one_rank) {
    memory.terms.push_back({"received weights", (type_sent(input.engine) == DType::kF32 ? kFloat : 2) * n, ""});
  }
  if (!input.hardware.gpu && !input.one_rank) memory.terms.push_back({"program and libraries", kProgram, ""});
  memory.terms.push_back({"a pass", pass_bytes(input), "engine.max_batch, engine.prefill_chunk"});
  const bool given = input.engine.kv_memory_mb > 0;
  memory.terms.push_back({"KV cache",
                          given ? 1e6 * static_cast<double>(input.engine.kv_memory_mb) : std::max(room, 0.0),
                          given ? "engine.kv_memory_mb" : "engine.kv_memory_mb = 0: what is left"});
  return memory;
}

namespace {

bool ranks_share_devices(const PlanInput& input) {
  return input.one_rank || input.devices < input.ranks();
}

double available_bytes(const PlanInput& input) {
  return kGiga * (input.hardware.memory_gb - input.hardware.reserved_gb);
}

}  // namespace

double kv_room(const PlanInput& input) {
  const auto searching = static_cast<double>(std::max<int64_t>(1, input.search_per_device()));
  double others = searching * search_memory(input, 0).bytes();
  if (ranks_share_devices(input))
    others += static_cast<double>(input.learners_per_device()) * learner_memory(input).bytes();
  const double room = (available_bytes(input) - others) / searching;
  if (engine_on_gpu(input)) return 0.95 * room;  // as the engine takes it
  const auto ranks =
      static_cast<double>(input.search_per_device() + (input.one_rank ? 0 : input.learners_per_device()));
  return std::min(room, 0.5 * available_bytes(input) / ranks);
}

std::vector<DeviceMemory> device_memory(const PlanInput& input) {
  const double room = kv_room(input);
  const auto make = [&](int64_t learners, int64_t searching) {
    DeviceMemory device;
    device.learner_ranks = learners;
    device.search_ranks = searching;
    if (learners > 0) device.learner = learner_memory(input);
    if (searching > 0) device.search = search_memory(input, room);
    device.used =
        static_cast<double>(learners) * device.learner.bytes() + static_cast<double>(searching) * device.search.bytes();
    device.available = available_bytes(input);
    return device;
  };
  if (ranks_share_devices(input)) return {make(input.learners_per_device(), input.search_per_device())};
  return {make(1, 0), make(0, 1)};
}

namespace {

// Room for as many tokens as a search rank must hold at least: one problem's sequences at their longest.
bool kv_is_enough(const PlanInput& input, const DeviceMemory& device) {
  if (device.search_ranks == 0) return true;
  return device.search.terms.back().bytes >= input.work.longest_row * kv_bytes_per_token(input);
}

bool fits(const PlanInput& input) {
  for (const DeviceMemory& device : device_memory(input)) {
    if (device.left() < 0 || !kv_is_enough(input, device)) return false;
  }
  return true;
}

struct Change {
  std::string text;
  std::function<void(PlanInput&)> make;
};

// Cheapest first: what costs only time, then what needs more machines.
std::vector<Change> changes_of(const PlanInput& input) {
  std::vector<Change> changes;
  if (!input.learn.shard_optimizer && input.learners > 1) {
    changes.push_back({"[learn].shard_optimizer = true", [](PlanInput& p) { p.learn.shard_optimizer = true; }});
  }
  for (int64_t tokens = input.learn.tokens_per_microbatch / 2; tokens >= static_cast<int64_t>(input.work.longest_row);
       tokens /= 2) {
    changes.push_back({fmt::format("[learn].tokens_per_microbatch = {}", tokens),
                       [tokens](PlanInput& p) { p.learn.tokens_per_microbatch = tokens; }});
  }
  if (!checkpoints(input.learn) && input.learn.packing == Packing::kTree) {
    changes.push_back(
        {"[learn].checkpoint_activations = true", [](PlanInput& p) { p.learn.checkpoint_activations = true; }});
    for (int64_t tokens = input.learn.tokens_per_microbatch / 2; tokens >= static_cast<int64_t>(input.work.longest_row);
         tokens /= 2) {
      changes.push_back({fmt::format("[learn].tokens_per_microbatch = {} and checkpoint_activations = true", tokens),
                         [tokens](PlanInput& p) {
                           p.learn.tokens_per_microbatch = tokens;
                           p.learn.checkpoint_activations = true;
                         }});
    }
  }
  if (input.learn.compute == Compute::kFp32) {
    changes.push_back({"[learn].compute = \"bf16\"", [](PlanInput& p) { p.learn.compute = Compute::kBf16; }});
    changes.push_back({"[learn].compute = \"bf16\" and checkpoint_activations = true", [](PlanInput& p) {
                         p.learn.compute = Compute::kBf16;
                         p.learn.checkpoint_activations = true;
                       }});
  }
  const auto least_mb = static_cast<int64_t>(std::ceil(input.work.longest_row * kv_bytes_per_token(input) / 1e6));
  if (input.engine.kv_memory_mb > 0 && input.engine.kv_memory_mb < least_mb) {
    changes.push_back({fmt::format("[engine].kv_memory_mb = {}", least_mb),
                       [least_mb](PlanInput& p) { p.engine.kv_memory_mb = least_mb; }});
  }
  for (int64_t mb = input.engine.kv_memory_mb / 2; mb >= 1; mb /= 2) {
    changes.push_back(
        {fmt::format("[engine].kv_memory_mb = {}", mb), [mb](PlanInput& p) { p.engine.kv_memory_mb = mb; }});
  }
  for (int64_t batch = batch_of(input) / 2; batch >= 8; batch /= 2) {
    changes.push_back(
        {fmt::format("[engine].max_batch = {}", batch), [batch](PlanInput& p) { p.engine.max_batch = batch; }});
  }
  if (input.learn.shard_optimizer && !input.one_rank) {
    for (int64_t learners = 2 * input.learners; learners <= 1024; learners *= 2) {
      changes.push_back(
          {fmt::format("[ranks].learners = {} on as many more devices", learners), [learners](PlanInput& p) {
             p.devices += learners - p.learners;
             p.learners = learners;
           }});
    }
  }
  return changes;
}

std::string shortage(const PlanInput& input) {
  for (const DeviceMemory& device : device_memory(input)) {
    const std::string who =
        device.learner_ranks > 0 && device.search_ranks > 0
            ? fmt::format("{} learner and {} search ranks", device.learner_ranks, device.search_ranks)
        : device.learner_ranks > 0 ? std::string("a learner rank")
                                   : std::string("a search rank");
    if (device.left() < 0) {
      return fmt::format("{}: {:.1f} GB are needed of a device that has {:.1f}", who, device.used / kGiga,
                         device.available / kGiga);
    }
    if (!kv_is_enough(input, device)) {
      return fmt::format("{}: {:.1f} GB for the KV cache do not hold one trajectory of {:.0f} tokens ({:.1f} GB)", who,
                         device.search.terms.back().bytes / kGiga, input.work.longest_row,
                         input.work.longest_row * kv_bytes_per_token(input) / kGiga);
    }
  }
  return "";
}

}  // namespace

std::string what_does_not_fit(const PlanInput& input) {
  if (engine_on_gpu(input) && ranks_share_devices(input) && input.engine.kv_memory_mb == 0) {
    return fmt::format(
        "a learner and a search rank share a GPU, and [engine].kv_memory_mb = 0 takes all of it that is free: set it "
        "to {:.0f} at most",
        std::max(0.0, kv_room(input) / 1e6));
  }
  if (fits(input)) return "";
  for (const Change& change : changes_of(input)) {
    PlanInput other = input;
    change.make(other);
    if (fits(other)) return fmt::format("{}; {} would fit", shortage(input), change.text);
  }
  return fmt::format("{}; none of these keys alone helps: it takes more memory, more learners, or a smaller [model]",
                     shortage(input));
}

}  // namespace deepsearch
