// The wire format: what goes in comes out, and nothing else ever does.
#include "comm/wire.h"

#include <cstdlib>
#include <new>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/mailbox.h"
#include "comm/sample_messages.h"

namespace {

// Counts what a test allocates, so that a hostile size that reaches an allocation is seen even where it succeeds.
thread_local size_t largest_allocation = 0;
thread_local size_t total_allocated = 0;

void* counted(size_t bytes) {
  largest_allocation = std::max(largest_allocation, bytes);
  total_allocated += bytes;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) {
  return counted(bytes);
}
void* operator new[](size_t bytes) {
  return counted(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::vector<char>& bytes) {
  try {
    unpack_message(bytes.data(), bytes.size());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Every message packs all its fields, so equal bytes after a round trip mean equal fields.
TEST(Wire, RoundTripOfEveryKind) {
  for (const AnyMessage& message : testing::sample_messages()) {
    const std::vector<char> bytes = pack_message(message);
    const AnyMessage back = unpack_message(bytes.data(), bytes.size());
    EXPECT_EQ(back.index(), message.index());
    EXPECT_EQ(pack_message(back), bytes);
  }
}

TEST(Wire, TreeArrivesWhole) {
  const TreeMessage sent{.work = AssignMessage::Work::kTree, .last = false, .tree = testing::sample_tree()};
  const std::vector<char> bytes = pack_message(sent);
  const auto got = std::get<TreeMessage>(unpack_message(bytes.data(), bytes.size()));
  EXPECT_FALSE(got.last);
  EXPECT_EQ(got.tree.key, sent.tree.key);
  EXPECT_EQ(got.tree.problem.prompt, "1 2 3 → 6");
  EXPECT_EQ(got.tree.tokens, sent.tree.tokens);
  EXPECT_EQ(got.tree.logprobs, sent.tree.logprobs);
  EXPECT_EQ(got.tree.token_versions, sent.tree.token_versions);
  ASSERT_EQ(got.tree.nodes.size(), 4U);
  EXPECT_EQ(got.tree.nodes[3].value, -1.5);
  EXPECT_TRUE(got.tree.nodes[3].terminal);
  EXPECT_EQ(got.tree.nodes[3].outcome, Outcome::kWrong);
  ASSERT_EQ(got.tree.recorded.size(), 1U);
  EXPECT_TRUE(got.tree.recorded[0].leftover);
  EXPECT_EQ(got.tree.events.back().kind, EventKind::kStop);
}

TEST(Wire, EmptyMessagesTravel) {
  for (const AnyMessage& message :
       {AnyMessage(AssignMessage{}), AnyMessage(TreeMessage{}), AnyMessage(WeightsMessage{}),
        AnyMessage(HeartbeatMessage{}), AnyMessage(ReportMessage{})}) {
    const std::vector<char> bytes = pack_message(message);
    EXPECT_EQ(unpack_message(bytes.data(), bytes.size()).index(), message.index());
  }
}

TEST(Wire, EverySingleBitFlipIsSeen) {
  const std::vector<char> bytes = pack_message(testing::sample_messages()[0]);
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<char> changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      EXPECT_NE(refusal(changed), "") << "byte " << i << " bit " << bit;
    }
  }
}

TEST(Wire, EveryTruncationAndExtensionIsSeen) {
  const std::vector<char> bytes = pack_message(testing::sample_messages()[1]);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(refusal({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)}), "") << size;
  }
  std::vector<char> longer = bytes;
  longer.push_back('\0');
  EXPECT_THAT(refusal(longer), HasSubstr("were announced"));
  seal_message(longer);
  EXPECT_THAT(refusal(longer), HasSubstr("1 bytes too many"));
}

TEST(Wire, HeaderErrorsSayWhatIsWrong) {
  const std::vector<char> bytes = pack_message(ControlMessage{});
  const auto with = [&bytes](size_t at, auto value) {
    std::vector<char> changed = bytes;
    std::memcpy(changed.data() + at, &value, sizeof value);
    return refusal(changed);
  };
  EXPECT_THAT(with(offsetof(MessageHeader, magic), uint32_t{0x53445344}), HasSubstr("another byte order"));
  EXPECT_THAT(with(offsetof(MessageHeader, version), uint32_t{9}), HasSubstr("version 9"));
  EXPECT_THAT(with(offsetof(MessageHeader, length), uint64_t{1} << 40), HasSubstr("more than the limit"));
  EXPECT_THAT(with(offsetof(MessageHeader, checksum), uint64_t{0}), HasSubstr("checksum"));

  std::vector<char> unknown = bytes;
  const int32_t kind = 77;
  std::memcpy(unknown.data() + offsetof(MessageHeader, kind), &kind, sizeof kind);
  seal_message(unknown);
  EXPECT_THAT(refusal(unknown), HasSubstr("unknown kind 77"));
}

TEST(Wire, ValuesOutsideTheirTypesAreRefused) {
  TreeMessage message;
  message.tree = testing::sample_tree();
  const auto refused = [](const TreeMessage& bad) { return refusal(pack_message(bad)); };
  EXPECT_EQ(refused(message), "");

  TreeMessage bad = message;
  bad.tree.nodes[2].parent = 2;
  EXPECT_THAT(refused(bad), HasSubstr("parent"));
  bad = message;
  bad.tree.nodes[0].parent = 0;
  EXPECT_THAT(refused(bad), HasSubstr("parent"));
  bad = message;
  bad.tree.nodes[2].n_tokens = 1000;
  EXPECT_THAT(refused(bad), HasSubstr("tokens"));
  bad = message;
  bad.tree.recorded[0].leaf = 4;
  EXPECT_THAT(refused(bad), HasSubstr("leaf"));
  bad = message;
  bad.tree.logprobs.pop_back();
  EXPECT_THAT(refused(bad), HasSubstr("log-probabilities"));
  bad = message;
  bad.tree.stop_reason = static_cast<StopReason>(200);
  EXPECT_THAT(refused(bad), HasSubstr("stop reason"));
  bad = message;
  bad.tree.nodes[1].outcome = static_cast<Outcome>(7);
  EXPECT_THAT(refused(bad), HasSubstr("outcome"));
  bad = message;
  bad.tree.events[0].node = 4;
  EXPECT_THAT(refused(bad), HasSubstr("event"));
  bad = message;
  bad.work = static_cast<AssignMessage::Work>(99);
  EXPECT_THAT(refused(bad), HasSubstr("work"));
  ControlMessage control;
  control.command = static_cast<ControlMessage::Command>(99);
  EXPECT_THAT(refusal(pack_message(control)), HasSubstr("command"));
}

TEST(Wire, HostileCountIsRefusedBeforeItIsAllocated) {
  std::vector<char> bytes = pack_message(testing::sample_messages()[0]);  // assign: version, count, items
  const uint64_t counts[] = {uint64_t{1} << 62, uint64_t{1} << 61, ~uint64_t{0}, uint64_t{1} << 32, 1000};
  for (const uint64_t count : counts) {
    std::memcpy(bytes.data() + sizeof(MessageHeader) + sizeof(int64_t), &count, sizeof count);
    seal_message(bytes);
    largest_allocation = 0;
    EXPECT_THAT(refusal(bytes), HasSubstr("elements of at least "));
    EXPECT_LT(largest_allocation, 4096U);
  }
}

// Random changes behind a right checksum: an Error or a message, and memory in proportion to the bytes that came.
TEST(Wire, MutatedMessagesNeverCrashNorAllocateMuch) {
  std::mt19937 random(20250929);
  const auto below = [&random](size_t n) { return static_cast<size_t>(random() % n); };
  size_t accepted = 0;
  size_t refused = 0;
  for (const AnyMessage& message : testing::sample_messages()) {
    const std::vector<char> bytes = pack_message(message);
    for (int round = 0; round < 4000; ++round) {
      std::vector<char> changed = bytes;
      for (size_t i = 0, n = 1 + below(4); i < n; ++i) {
        const size_t at = below(changed.size());
        switch (below(4)) {
          case 0:
            changed[at] = static_cast<char>(random());
            break;
          case 1:
            changed.resize(at + 1);
            break;
          case 2:
            changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(at), 1 + below(20), '\xff');
            break;
          default: {
            const uint64_t word = uint64_t{1} << below(64);
            if (at + sizeof word <= changed.size()) std::memcpy(changed.data() + at, &word, sizeof word);
          }
        }
      }
      if (round % 8 != 0) seal_message(changed);
      largest_allocation = 0;
      total_allocated = 0;
      try {
        const AnyMessage got = unpack_message(changed.data(), changed.size());
        ++accepted;
      } catch (const Error&) {
        ++refused;
      }
      // The most a byte can become is a 32-byte string from its 8-byte count; error texts add a little.
      ASSERT_LE(largest_allocation, 8 * changed.size() + 4096);
      ASSERT_LE(total_allocated, 16 * changed.size() + 16384);
    }
  }
  EXPECT_GT(accepted, 1000U);  // payload values changed
  EXPECT_GT(refused, 1000U);   // structure changed
}

TEST(Wire, RandomBytesBehindARightHeaderNeverCrash) {
  std::mt19937 random(7);
  size_t refused = 0;
  for (int round = 0; round < 6000; ++round) {
    std::vector<char> bytes(sizeof(MessageHeader) + random() % 300);
    for (char& byte : bytes) byte = random() % 3 == 0 ? static_cast<char>(random()) : '\0';
    MessageHeader header;
    header.kind = 1 + static_cast<int32_t>(random() % 6);
    std::memcpy(bytes.data(), &header, sizeof header);
    seal_message(bytes);
    refused += refusal(bytes).empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 3000U);
}

TEST(Wire, LargeVectorsSurvive) {
  ReportMessage report;
  report.phases.resize(3'000'001);
  for (size_t i = 0; i < report.phases.size(); ++i) report.phase_seconds.push_back(static_cast<double>(i % 1000));
  const std::vector<char> bytes = pack_message(report);
  EXPECT_EQ(std::get<ReportMessage>(unpack_message(bytes.data(), bytes.size())).phase_seconds, report.phase_seconds);
}

}  // namespace
}  // namespace deepsearch
