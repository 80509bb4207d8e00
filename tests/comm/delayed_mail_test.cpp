#include "comm/delayed_mail.h"

#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

Envelope letter(int from, int64_t number) {
  ControlMessage message;
  message.step = number;
  return {from, message};
}

// (sender, number) in the order of release.
std::vector<std::pair<int, int64_t>> order(uint64_t seed) {
  DelayedMail mail(0.1, seed);
  std::deque<Envelope> ready;
  for (int64_t i = 0; i < 50; ++i) {
    for (int from = 0; from < 3; ++from) mail.hold(letter(from, i), 10.0 + 0.001 * static_cast<double>(i));
  }
  mail.release(9.99, ready);
  EXPECT_TRUE(ready.empty());
  mail.release(10.0 + 0.05 + 0.1, ready);
  EXPECT_TRUE(mail.empty());
  std::vector<std::pair<int, int64_t>> seen;
  for (const Envelope& envelope : ready) {
    seen.emplace_back(envelope.from, std::get<ControlMessage>(envelope.message).step);
  }
  return seen;
}

TEST(DelayedMail, KeepsASendersOrderAndMixesSenders) {
  const auto seen = order(1);
  ASSERT_EQ(seen.size(), 150U);
  std::map<int, int64_t> next;
  int out_of_turn = 0;
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].second, next[seen[i].first]++);
    out_of_turn += seen[i].first == static_cast<int>(i % 3) ? 0 : 1;
  }
  EXPECT_GT(out_of_turn, 30);
}

TEST(DelayedMail, RepeatsBySeed) {
  EXPECT_EQ(order(5), order(5));
  EXPECT_NE(order(5), order(6));
}

TEST(DelayedMail, OffHoldsNothingOn) {
  EXPECT_FALSE(DelayedMail(0, 1).on());
  EXPECT_TRUE(DelayedMail(0.001, 1).on());
}

}  // namespace
}  // namespace deepsearch
