#include "run/policy.h"

#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace deepsearch {
std::vector<std::string> bytes_of_tokens(const Tokenizer& tokenizer) {
  std::vector<std::string> bytes(static_cast<size_t>(tokenizer.id_limit()));
  for (size_t id = 0; id < bytes.size(); ++id) bytes[id] = tokenizer.token_bytes(static_cast<Token>(id));
  return bytes;
}

Policy open_policy(const std::filesystem::path& folder, const EngineParams& params, uint64_t seed) {
  Policy policy;
  const std::unique_ptr<WeightSource> weights = open_model(folder);
  policy.defaults = read_generation_config(folder);
  if (std::filesystem::exists(folder / "tokenizer.json")) policy.tokenizer = load_tokenizer(folder / "tokenizer.json");
  policy.engine = make_engine(params, weights->model_config(), seed, 0);
  if (policy.tokenizer) {
    policy.engine->set_token_bytes(bytes_of_tokens(*policy.tokenizer));
  } else {
    policy.engine->set_token_bytes({});
  }
  policy.engine->set_weights(*weights, 0);
  return policy;
}

}  // namespace deepsearch
