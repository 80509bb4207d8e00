// One process without mpirun: roles, messages to oneself, collectives over one learner. MPI is set up once in a
// process, so all of these share a World.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/collectives.h"
#include "comm/gpu.h"
#include "comm/mailbox.h"
#include "comm/sample_messages.h"
#include "comm/watchdog.h"
#include "comm/world.h"
#include "core/error.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

std::string message_of(const std::function<void()>& action, int exit_code) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), exit_code);
    return error.what();
  }
  return "";
}

class WorldOfOne : public ::testing::Test {
 protected:
  static World& world() {
    static World* made = nullptr;
    if (made == nullptr) {
      static World instance(nullptr, nullptr);
      made = &instance;
      RanksParams wrong;
      wrong.learners = 0;
      wrong_layout = message_of([&] { instance.assign_roles(wrong); }, kExitBadInput);
      wrong.learners = 1;
      wrong.stuck_seconds = 1.0;
      wrong_limit = message_of([&] { instance.assign_roles(wrong); }, kExitBadInput);
      instance.assign_roles(RanksParams{});
    }
    return *made;
  }
  static inline std::string wrong_layout;
  static inline std::string wrong_limit;
};

TEST_F(WorldOfOne, PlaysBothRoles) {
  World& w = world();
  EXPECT_EQ(w.size(), 1);
  EXPECT_EQ(w.rank(), 0);
  EXPECT_EQ(w.role(), Role::kBoth);
  EXPECT_TRUE(w.searches() && w.learns() && w.is_coordinator());
  EXPECT_EQ(w.n_search(), 1);
  EXPECT_EQ(w.n_learners(), 1);
  EXPECT_EQ(w.search_index(), 0);
  EXPECT_EQ(w.learner_index(), 0);
  EXPECT_EQ(w.search_ranks(), std::vector<int>{0});
  EXPECT_EQ(w.learner_ranks(), std::vector<int>{0});
  EXPECT_EQ(w.local_rank(), 0);
  EXPECT_EQ(w.ranks_on_host(), 1);
  EXPECT_FALSE(w.host().empty());
  EXPECT_EQ(w.host_of(0), w.host());
  EXPECT_EQ(w.describe_rank(0), "rank 0 (rank 0, host " + w.host() + ")");
}

TEST_F(WorldOfOne, RefusesImpossibleLayoutsAndASecondWorld) {
  world();
  EXPECT_THAT(wrong_layout, HasSubstr("[ranks].learners = 0"));
  EXPECT_THAT(wrong_limit, HasSubstr("[ranks].stuck_seconds = 1"));
  EXPECT_THROW(World(nullptr, nullptr), Error);
  EXPECT_THROW(world().assign_roles(RanksParams{}), Error);
}

TEST_F(WorldOfOne, StartUpCollectivesAreTrivial) {
  World& w = world();
  w.barrier("test");
  std::string text = "config";
  w.broadcast_text(text, 0);
  EXPECT_EQ(text, "config");
  EXPECT_EQ(w.gather_text("mine", 0), std::vector<std::string>{"mine"});
  EXPECT_EQ(w.first_error(""), "");
  EXPECT_EQ(w.first_error("no model"), "no model");
}

TEST_F(WorldOfOne, MessagesToOneselfArriveInOrder) {
  Mailbox mailbox(world());
  EXPECT_FALSE(mailbox.receive());
  const std::vector<AnyMessage> messages = testing::sample_messages();
  for (const AnyMessage& message : messages) mailbox.send(0, message);
  for (const AnyMessage& message : messages) {
    const auto envelope = mailbox.wait(1.0);
    ASSERT_TRUE(envelope);
    EXPECT_EQ(envelope->from, 0);
    EXPECT_EQ(pack_message(envelope->message), pack_message(message));
  }
  EXPECT_FALSE(mailbox.receive());
  EXPECT_FALSE(mailbox.wait(0.001));
  EXPECT_GT(mailbox.bytes_sent(), 0);
  EXPECT_EQ(mailbox.bytes_sent(), mailbox.bytes_received());
  EXPECT_GE(mailbox.seconds_serialising(), 0.0);
  mailbox.flush(1.0);
}

TEST_F(WorldOfOne, SendingToNobodyIsAnError) {
  Mailbox mailbox(world());
  EXPECT_THAT(message_of([&] { mailbox.send(1, ControlMessage{}); }, kExitFailure), HasSubstr("cannot send to rank 1"));
  EXPECT_THROW(mailbox.send(-1, ControlMessage{}), Error);
  mailbox.send_all({}, ControlMessage{});
  EXPECT_FALSE(mailbox.receive());
}

TEST_F(WorldOfOne, CollectivesOverOneLearnerChangeNothing) {
  const auto group = make_learner_collectives(world(), Transport::kMpi);
  EXPECT_THAT(group->description(), HasSubstr("over 1 learner rank"));
  EXPECT_EQ(group->size(), 1);
  EXPECT_FALSE(group->on_device());
  std::vector<float> values = {1.5F, -2.0F, 3.0F};
  const std::vector<float> before = values;
  group->start_all_reduce_sum(values).wait();
  EXPECT_EQ(values, before);
  std::vector<float> part(3);
  group->start_reduce_scatter_sum(values, part).wait();
  EXPECT_EQ(part, before);
  std::vector<float> all(3);
  const auto bytes_of = [](std::vector<float>& v) { return std::as_writable_bytes(std::span(v)); };
  group->start_all_gather(bytes_of(part), bytes_of(all)).wait();
  EXPECT_EQ(all, before);
  EXPECT_EQ(group->all_reduce_sum(2.5), 2.5);
  EXPECT_EQ(group->all_reduce_max(-2.5), -2.5);
  EXPECT_TRUE(std::isnan(group->all_reduce_max(std::nan(""))));
  std::vector<float> wrong(2);
  EXPECT_THROW(group->start_all_gather(bytes_of(part), bytes_of(wrong)), Error);
  EXPECT_THROW(group->start_reduce_scatter_sum(values, wrong), Error);
}

TEST_F(WorldOfOne, TransportFollowsTheMachine) {
  const auto chosen = make_learner_collectives(world(), Transport::kAuto);
  EXPECT_EQ(chosen->on_device(), n_gpus() > 0);
  if (n_gpus() == 0) {
    EXPECT_THAT(message_of([] { make_learner_collectives(world(), Transport::kNccl); }, kExitBadInput),
                HasSubstr("no GPU on host " + world().host()));
    EXPECT_EQ(gpu_of(world()), -1);
    EXPECT_EQ(gpu_bus_id(-1), "");
    EXPECT_THAT(gpu_summary(), HasSubstr("no GPU"));
  } else {
    EXPECT_THAT(gpu_summary(), HasSubstr("NCCL"));
  }
}

TEST_F(WorldOfOne, HeartbeatsGoOutByInterval) {
  Mailbox mailbox(world());
  HeartbeatSender sender(world(), mailbox);
  Watchdog watchdog(world(), 100.0);
  const auto hear = [&](double now) {
    while (auto envelope = mailbox.receive()) {
      watchdog.heard(envelope->from, std::get<HeartbeatMessage>(envelope->message), now);
    }
  };
  sender.enter_phase("searching", 100.0);
  sender.enter_phase("searching", 100.5);
  EXPECT_EQ(sender.sent(), 1);
  const double interval = world().params().heartbeat_seconds;
  sender.tick(1, 10, 0.5, 100.0 + 0.9 * interval);
  EXPECT_EQ(sender.sent(), 1);
  sender.tick(2, 20, 0.7, 100.0 + interval);
  sender.tick(3, 30, 0.8, 100.1 + interval);
  EXPECT_EQ(sender.sent(), 2);
  hear(102.0);
  const HeartbeatMessage& last = watchdog.ranks().at(0).last;
  EXPECT_EQ(last.phase, "searching");
  EXPECT_EQ(last.host, world().host());
  EXPECT_EQ(last.trees_done, 2);
  EXPECT_EQ(last.tokens_generated, 20);
  EXPECT_DOUBLE_EQ(last.phase_seconds, interval);
  EXPECT_FALSE(watchdog.silent(162.0));
  EXPECT_TRUE(watchdog.silent(162.5));
  sender.enter_phase("waiting for work", 163.0);
  hear(163.0);
  EXPECT_FALSE(watchdog.silent(164.0));
  EXPECT_EQ(watchdog.ranks().at(0).last.phase, "waiting for work");
}

}  // namespace
}  // namespace deepsearch
