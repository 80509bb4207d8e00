// Decoders of a tokenizer.json: Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, BPEDecoder. Others
// (WordPiece, CTC) are refused by name.
//
// In `tokenizers` a decoder maps the list of all tokens to a list of texts. Here each is a stage that tokens flow
// through one by one, and in parts where a stage has joined them to one long token; a stage holds back what later
// tokens can still change. Decoding a list at once and decoding it as a stream are the same code.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_node.h"

namespace deepsearch {

// Where tokens go. One user at a time.
class TokenSink {
 public:
  TokenSink() = default;
  TokenSink(const TokenSink&) = delete;
  TokenSink& operator=(const TokenSink&) = delete;
  virtual ~TokenSink() = default;

  // A token, or a part of one when more of it follows. Parts hold whole characters.
  virtual void push(std::string_view text, bool ends_token) = 0;
  // No token follows. Called once.
  virtual void finish() = 0;
};

// What a file says of one stage. Immutable: any thread.
class DecoderStage {
 public:
  DecoderStage() = default;
  DecoderStage(const DecoderStage&) = delete;
  DecoderStage& operator=(const DecoderStage&) = delete;
  virtual ~DecoderStage() = default;

  // A stage at work that pushes into `next`, which must outlive it, as must this description.
  virtual std::unique_ptr<TokenSink> start(TokenSink& next) const = 0;
  // What the stage makes of a token in the middle of a text, as bytes, which need not be whole characters.
  virtual std::string bytes(std::string token) const = 0;
};

using DecoderStages = std::vector<std::unique_ptr<const DecoderStage>>;

// Appends the stages of a decoder, those of a Sequence one after another.
void read_decoder(const JsonNode& node, DecoderStages& stages);

}  // namespace deepsearch
