// Demonstrations for supervised training from JSON Lines. A line is one of
//
//   {"prompt": text, "response": text}
//   {"messages": [{"role": …, "content": …}, …]}          the last one, the assistant's, is the response
//   {"prompt_tokens": [ids], "response_tokens": [ids]}    needs no tokenizer
//
// Other keys are read over. Prompts become tokens as generate makes them; a response is the tokens of its text and the
// end-of-sequence token, added where it does not end with one already. Errors (bad_input) read "FILE:LINE: …".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "learn/params.h"
#include "learn/sft.h"
#include "model/model_config.h"
#include "run/prompt_encoder.h"

namespace deepsearch {

// The token that ends a response: with a chat template the end-of-sequence token that it writes after an answer, else
// the first of the model's. bad_input where the model has none.
Token end_of_response(const PromptEncoder& encoder, const ModelConfig& model);

// bad_input where a tokenizer can give ids that the model has no embedding for, or does not know the model's
// end-of-sequence tokens: the two do not belong together. `folder` begins the message.
void check_tokenizer_fits(const Tokenizer& tokenizer, const ModelConfig& model, const std::string& folder);

struct DemonstrationFile {
  std::vector<Demonstration> rows;
  int64_t lines = 0;
  int64_t left_out = 0;  // too long, with sft.too_long = "leave_out", or because of their prompt alone
  int64_t cut = 0;       // too long, and without their end now
};

// `limit`: tokens of a row at most. bad_input for a line that is none of the above, ids that the model does not have, a
// prompt without a token, or a file without a row that can be trained on.
DemonstrationFile read_demonstrations(const std::filesystem::path& path, const PromptEncoder& encoder,
                                      const ModelConfig& model, int64_t limit, TooLong too_long);

// Takes `share` of the rows, drawn by the seed, at least one and never all, out of `rows`.
std::vector<Demonstration> split_validation(std::vector<Demonstration>& rows, double share, uint64_t seed);

}  // namespace deepsearch
