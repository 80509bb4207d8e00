#include "run/rank_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace deepsearch {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Search ranks and a learner on hosts of 16 CPUs in two sockets, 4 CPUs a rank.
std::vector<RankFacts> layout(int ranks, int ranks_on_host = 4) {
  std::vector<RankFacts> facts;
  for (int rank = 0; rank < ranks; ++rank) {
    RankFacts one;
    one.rank = rank;
    one.role = rank + 1 < ranks ? "search" : "learner";
    one.name = fmt::format("{} {}", one.role, rank + 1 < ranks ? rank : 0);
    one.host = fmt::format("n{:02}", rank / ranks_on_host);
    one.threads = 4;
    const int first = 4 * (rank % ranks_on_host);
    one.cpus = {first, first + 1, first + 2, first + 3};
    one.host_cpus = 16;
    one.host_sockets = 2;
    facts.push_back(one);
  }
  return facts;
}

void unbind(RankFacts& rank) {
  rank.cpus.clear();
  for (int cpu = 0; cpu < 16; ++cpu) rank.cpus.push_back(cpu);
}

TEST(RankMap, AGoodLayoutHasNoWarnings) {
  std::vector<RankFacts> ranks = layout(8);
  EXPECT_THAT(rank_warnings(ranks), IsEmpty());
  for (RankFacts& rank : ranks) {
    rank.gpu = fmt::format("0000:{:02x}:00.0", 1 + rank.rank % 4);
    rank.gpus = {"0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0"};
  }
  EXPECT_THAT(rank_warnings(ranks), IsEmpty());
}

TEST(RankMap, WarnsOfSharedAndIdleGpus) {
  std::vector<RankFacts> ranks = layout(3);
  for (RankFacts& rank : ranks) {
    rank.gpu = rank.rank < 2 ? "0000:01:00.0" : "0000:02:00.0";
    rank.gpus = {"0000:01:00.0", "0000:02:00.0", "0000:03:00.0"};
  }
  EXPECT_THAT(rank_warnings(ranks),
              ElementsAre(AllOf(HasSubstr("host n00: GPU 0000:01:00.0 is shared by 2 ranks (search 0, search 1)")),
                          HasSubstr("1 GPU that no rank uses (0000:03:00.0)")));
}

TEST(RankMap, WarnsOfMoreThreadsThanCpus) {
  std::vector<RankFacts> ranks = layout(5, 5);
  for (RankFacts& rank : ranks) unbind(rank);
  ranks[0].threads = 5;  // 5 + 3 · 4 search threads on 16 CPUs; the learner's take turns with them
  for (RankFacts& rank : ranks) rank.host_sockets = 1;
  EXPECT_THAT(rank_warnings(ranks), ElementsAre(HasSubstr("17 threads of search ranks on 16 CPUs")));
  ranks[0].threads = 4;
  EXPECT_THAT(rank_warnings(ranks), IsEmpty());
}

TEST(RankMap, WarnsOfARankBoundTooNarrowly) {
  std::vector<RankFacts> ranks = layout(4);
  ranks[1].cpus = {4};
  EXPECT_THAT(rank_warnings(ranks),
              ElementsAre(HasSubstr("12 threads of search ranks"), HasSubstr("search 1 has 4 threads on CPUs 4")));
}

TEST(RankMap, WarnsOfUnboundRanksOnSeveralSocketsOnly) {
  std::vector<RankFacts> ranks = layout(4);
  for (RankFacts& rank : ranks) unbind(rank);
  EXPECT_THAT(rank_warnings(ranks), ElementsAre(HasSubstr("4 ranks are not bound to CPUs on a host of 2 sockets")));
  for (RankFacts& rank : ranks) rank.host_sockets = 1;
  EXPECT_THAT(rank_warnings(ranks), IsEmpty());
  std::vector<RankFacts> alone = layout(1);
  unbind(alone[0]);
  EXPECT_THAT(rank_warnings(alone), IsEmpty());
}

TEST(RankMap, ALineARankForFewRanks) {
  const std::vector<std::string> lines = rank_table(layout(5));
  ASSERT_THAT(lines, SizeIs(6));
  EXPECT_THAT(lines[0], AllOf(HasSubstr("rank"), HasSubstr("device"), HasSubstr("binding")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("search 1"), HasSubstr("n00"), HasSubstr("CPU "), HasSubstr("CPUs 4-7")));
  EXPECT_THAT(lines[5], AllOf(HasSubstr("learner 0"), HasSubstr("n01")));
}

TEST(RankMap, EqualRanksAreOneLineInBigJobs) {
  std::vector<RankFacts> ranks = layout(65);
  ranks[10].threads = 2;
  const std::vector<std::string> lines = rank_table(ranks);
  ASSERT_THAT(lines, SizeIs(4));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("64"), HasSubstr("1 learner"), HasSubstr("n16")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("10 "), HasSubstr("1 search")));
  EXPECT_THAT(lines[3],
              AllOf(HasSubstr("0-9,11-63"), HasSubstr("63 search"), HasSubstr("16 hosts"), HasSubstr("4 CPUs each")));
}

TEST(RankMap, FactsTravelAsText) {
  RankFacts facts = layout(2)[1];
  facts.gpu = "0000:01:00.0";
  facts.gpu_name = "GPU";
  facts.gpus = {"0000:01:00.0"};
  const RankFacts back = rank_facts_from_json(rank_facts_to_json(facts));
  EXPECT_EQ(rank_facts_to_json(back), rank_facts_to_json(facts));
  EXPECT_EQ(back.cpus, facts.cpus);
  EXPECT_EQ(back.host_sockets, 2);
}

TEST(RankMap, Ranges) {
  EXPECT_EQ(ranges_text({}), "");
  EXPECT_EQ(ranges_text({3}), "3");
  EXPECT_EQ(ranges_text({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
}

}  // namespace
}  // namespace deepsearch
