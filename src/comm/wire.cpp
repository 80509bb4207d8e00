#include "comm/wire.h"

#include <algorithm>
#include <utility>

#include "comm/mailbox.h"
#include "data/tree_check.h"

namespace deepsearch {
namespace {

// Every step is a bijection of the state for a given word and of the word for a given state, so that any change of a
// single word is seen. Four lanes keep the multiplier busy.
uint64_t mix(uint64_t state, uint64_t word) {
  state = (state ^ word) * 0x9e3779b97f4a7c15ULL;
  return state ^ (state >> 32);
}

uint64_t word_at(const char* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

uint64_t checksum(const MessageHeader& header, const char* payload) {
  uint64_t lanes[4] = {mix(1, header.length), mix(2, static_cast<uint64_t>(header.kind)), mix(3, header.version), 4};
  const size_t length = header.length;
  size_t at = 0;
  for (; at + 32 <= length; at += 32) {
    for (size_t lane = 0; lane < 4; ++lane) lanes[lane] = mix(lanes[lane], word_at(payload + at + 8 * lane));
  }
  for (; at + 8 <= length; at += 8) lanes[0] = mix(lanes[0], word_at(payload + at));
  uint64_t tail = 0;
  if (at < length) std::memcpy(&tail, payload + at, length - at);
  lanes[0] = mix(lanes[0], tail);
  uint64_t state = 0;
  for (uint64_t lane : lanes) state = mix(state, lane);
  return state;
}

void check(bool fine, const char* what) {
  if (!fine) failure("malformed message: {}", what);
}

// What the types allow but no sender means: values outside an enum, references out of a tree's columns.
void check_values(const AssignMessage& message) {
  for (const AssignMessage::Item& item : message.items) {
    check(item.work <= AssignMessage::Work::kReplay, "unknown kind of work");
    const auto n_cached = static_cast<int64_t>(item.cached.size());
    check(item.work == AssignMessage::Work::kReplay ? n_cached >= 1 && n_cached <= item.samples : n_cached == 0,
          "cached solutions that are no part of the item's group");
    check(std::none_of(item.cached.begin(), item.cached.end(), [](const auto& one) { return one.empty(); }),
          "a cached solution without a token");
  }
}

void check_values(const TreeMessage& message) {
  check(message.work <= AssignMessage::Work::kReplay, "unknown kind of work");
  const std::string wrong = contradiction(message.tree, Columns::kSomeLeftOut);
  check(wrong.empty(), wrong.c_str());
}

void check_values(const WeightsMessage& message) {
  check(message.precision <= WeightsMessage::Precision::kBf16, "unknown precision of weights");
  check(message.bytes >= 0, "weights of a negative size");
}
void check_values(const HeartbeatMessage&) {}
void check_values(const ControlMessage& message) {
  check(message.command <= ControlMessage::Command::kHalted, "unknown command");
}
void check_values(const ReportMessage& message) {
  check(message.phases.size() == message.phase_seconds.size(), "phases and their seconds differ in number");
}

void check_values(const LoadMessage& message) {
  check(message.load.own_requests >= 0 && message.load.own_sequences >= 0 && message.load.here >= 0, "negative load");
}
void check_values(const ShareMessage& message) {
  check(message.helper >= 0 && message.helper_load >= 0, "a helper without a rank or a load");
}
void check_values(const ForgetMessage&) {}
void check_values(const CancelMessage&) {}

void check_values(const ExpandMessage& message) {
  const ExpansionRequest& request = message.shared.request;
  check(request.n_children >= 1 && request.n_children <= 65536 && request.max_tokens >= 1 && request.first_child >= 0,
        "an expansion of an impossible size");
  int64_t tokens = 0;
  for (const PathSegment& segment : request.path) {
    check(segment.n_tokens >= 0, "a path with a negative length");
    tokens += segment.n_tokens;
  }
  check(message.shared.known_tokens >= 0 &&
            tokens == message.shared.known_tokens + static_cast<int64_t>(request.prefix.size()),
        "a prefix that is not as long as its path");
}

void check_values(const ExpandedMessage& message) {
  for (const Step& step : message.expansion.children) {
    check(step.logprobs.size() == step.tokens.size() && step.entropies.size() == step.tokens.size(),
          "values of a step do not match its tokens");
    check(step.token_versions.size() == step.tokens.size() || step.token_versions.empty(),
          "policy versions do not match the tokens");
    check(step.finish <= Finish::kStop, "unknown end of a step");
  }
}

template <class Message>
AnyMessage unpack_as(const char* payload, size_t length) {
  Message message;
  WireReader reader(payload, length);
  reader(message);
  if (reader.left() != 0) failure("message has {} bytes too many", reader.left());
  check_values(message);
  return message;
}

AnyMessage unpack_payload(int32_t kind, const char* payload, size_t length) {
  switch (static_cast<MessageKind>(kind)) {
    case MessageKind::kAssign:
      return unpack_as<AssignMessage>(payload, length);
    case MessageKind::kTree:
      return unpack_as<TreeMessage>(payload, length);
    case MessageKind::kWeights:
      return unpack_as<WeightsMessage>(payload, length);
    case MessageKind::kHeartbeat:
      return unpack_as<HeartbeatMessage>(payload, length);
    case MessageKind::kControl:
      return unpack_as<ControlMessage>(payload, length);
    case MessageKind::kReport:
      return unpack_as<ReportMessage>(payload, length);
    case MessageKind::kLoad:
      return unpack_as<LoadMessage>(payload, length);
    case MessageKind::kShare:
      return unpack_as<ShareMessage>(payload, length);
    case MessageKind::kExpand:
      return unpack_as<ExpandMessage>(payload, length);
    case MessageKind::kExpanded:
      return unpack_as<ExpandedMessage>(payload, length);
    case MessageKind::kForget:
      return unpack_as<ForgetMessage>(payload, length);
    case MessageKind::kCancel:
      return unpack_as<CancelMessage>(payload, length);
  }
  failure("malformed message: unknown kind {}", kind);
}

}  // namespace

MessageHeader read_header(const char* bytes, size_t size) {
  MessageHeader header;
  if (size < sizeof header) failure("malformed message: {} bytes, fewer than its header of {}", size, sizeof header);
  std::memcpy(&header, bytes, sizeof header);
  if (header.magic != MessageHeader::kMagic) {
    failure("malformed message: starts with {:#010x}, not {:#010x} (another program, or another byte order)",
            header.magic, MessageHeader::kMagic);
  }
  if (header.version != MessageHeader::kVersion) {
    throw MessageVersionError(
        header.version, MessageHeader::kVersion,
        fmt::format("message of version {}, but this program speaks version {}: all ranks must run the same build",
                    header.version, MessageHeader::kVersion));
  }
  if (header.reserved != 0) failure("malformed message: reserved field is {}", header.reserved);
  if (header.length > kMaxMessageBytes - sizeof header) {
    failure("malformed message: claims {} bytes, more than the limit of {}", header.length, kMaxMessageBytes);
  }
  return header;
}

void seal_message(std::vector<char>& message) {
  MessageHeader header;
  if (message.size() < sizeof header) return;
  std::memcpy(&header, message.data(), sizeof header);
  header.length = message.size() - sizeof header;
  header.checksum = checksum(header, message.data() + sizeof header);
  std::memcpy(message.data(), &header, sizeof header);
}

std::vector<char> pack_message(const AnyMessage& message) {
  return std::visit(
      [](const auto& typed) {
        WireWriter counter(nullptr);
        counter(typed);
        MessageHeader header;
        header.kind = static_cast<int32_t>(std::decay_t<decltype(typed)>::kKind);
        if (counter.bytes() > kMaxMessageBytes - sizeof header) {
          failure("a message of {} bytes is more than the limit of {}", counter.bytes(), kMaxMessageBytes);
        }
        std::vector<char> bytes(sizeof header + counter.bytes());
        WireWriter writer(bytes.data() + sizeof header);
        writer(typed);
        std::memcpy(bytes.data(), &header, sizeof header);
        seal_message(bytes);
        return bytes;
      },
      message);
}

AnyMessage unpack_message(const char* bytes, size_t size) {
  const MessageHeader header = read_header(bytes, size);
  if (header.length != size - sizeof header) {
    failure("malformed message: {} bytes of payload came, {} were announced", size - sizeof header, header.length);
  }
  const char* payload = bytes + sizeof header;
  if (checksum(header, payload) != header.checksum) {
    failure("malformed message: checksum of its {} bytes of payload is wrong", header.length);
  }
  return unpack_payload(header.kind, payload, header.length);
}

}  // namespace deepsearch
