// comm under mpirun: `comm_mpi checks LEARNERS` runs every check on any number of ranks and exits with 1 when one
// fails; the other modes make a rank fail in one way, and ctest looks at how the job ends.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <unistd.h>
#include <utility>

#include <mpi.h>

#include "comm/collectives.h"
#include "comm/mailbox.h"
#include "comm/sample_messages.h"
#include "comm/stuck_watch.h"
#include "comm/watchdog.h"
#include "comm/weights_channel.h"
#include "comm/world.h"
#include "comm/world_impl.h"
#include "core/activity.h"
#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

int failures = 0;

void check(bool fine, const char* what, int line, const World& world) {
  if (fine) return;
  ++failures;
  std::fprintf(stderr, "%s: line %d: %s\n", world.describe_rank(world.rank()).c_str(), line, what);
}
#define CHECK(condition) check((condition), #condition, __LINE__, world)

size_t index(int i) {
  return static_cast<size_t>(i);
}

void check_roles(World& world, int learners) {
  const int size = world.size();
  const int n_learners = size == 1 ? 1 : learners;
  CHECK(world.n_learners() == n_learners);
  CHECK(world.n_search() == (size == 1 ? 1 : size - n_learners));
  CHECK(static_cast<int>(world.search_ranks().size()) == world.n_search());
  CHECK(static_cast<int>(world.learner_ranks().size()) == n_learners);
  CHECK(world.coordinator_rank() == size - n_learners);
  CHECK(world.is_coordinator() == (world.learner_index() == 0));
  if (size == 1) {
    CHECK(world.role() == Role::kBoth);
    return;
  }
  const bool learns = world.rank() >= size - n_learners;
  CHECK(world.role() == (learns ? Role::kLearner : Role::kSearch));
  CHECK(world.search_index() == (learns ? -1 : world.rank()));
  CHECK(world.learner_index() == (learns ? world.rank() - world.n_search() : -1));
  CHECK(world.who() ==
        (learns ? fmt::format("learner {}", world.learner_index()) : fmt::format("search {}", world.rank())));
  CHECK(world.ranks_on_host() == size && world.local_rank() == world.rank());
}

void check_start_up(World& world) {
  const int last = world.size() - 1;
  std::string text = world.rank() == last ? std::string(100'000, 'x') + "end" : "something else";
  world.broadcast_text(text, last);
  CHECK(text.size() == 100'003 && text.ends_with("end"));
  const std::vector<std::string> texts = world.gather_text(std::string(index(world.rank()), 'a'), last);
  CHECK(texts.size() == (world.rank() == last ? index(world.size()) : 0));
  for (size_t i = 0; i < texts.size(); ++i) CHECK(texts[i] == std::string(i, 'a'));
  CHECK(world.first_error("").empty());
  const int first = std::min(1, last);
  CHECK(world.first_error(world.rank() >= first ? fmt::format("rank {} failed", world.rank()) : "") ==
        fmt::format("rank {} failed", first));
  world.barrier("start-up");
}

// Contents that depend on sender and number, so that a mixed-up piece is seen.
ControlMessage numbered(int from, int number, size_t bytes) {
  ControlMessage message;
  message.step = 1000 * from + number;
  message.why.resize(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    message.why[i] = static_cast<char>((i * 7 + index(from) * 31 + index(number) + i / 4093) % 251);
  }
  return message;
}

// Every rank sends messages of all sizes to every rank, itself included, and takes what the others send while it does.
void check_order_and_sizes(World& world) {
  // Around the 4 MiB a piece has (header 32 bytes; command, step and length 17 or 20), up to 20 MiB.
  const std::vector<size_t> sizes = {
      0, 1, 4'000, 20U << 20, 2, (4U << 20) - 52, (4U << 20) - 49, (4U << 20) - 48, 10'000'000, 0};
  Mailbox mailbox(world);
  for (size_t i = 0; i < sizes.size(); ++i) {
    for (int to = 0; to < world.size(); ++to) {
      if (sizes[i] > 8'000'000 && to != (world.rank() + 1) % world.size()) continue;
      mailbox.send(to, numbered(world.rank(), static_cast<int>(i), sizes[i]));
    }
  }
  std::map<int, int> last;
  size_t expected = 0;
  for (size_t size : sizes) expected += size > 8'000'000 ? 1 : index(world.size());
  for (size_t got = 0; got < expected; ++got) {
    const auto envelope = mailbox.wait(60.0);
    CHECK(envelope.has_value());
    if (!envelope) return;
    const auto& message = std::get<ControlMessage>(envelope->message);
    const int number = static_cast<int>(message.step % 1000);
    CHECK(message.step / 1000 == envelope->from);
    CHECK(!last.contains(envelope->from) || last[envelope->from] < number);
    last[envelope->from] = number;
    CHECK(message.why == numbered(envelope->from, number, sizes[index(number)]).why);
  }
  mailbox.flush(60.0);
  CHECK(!mailbox.receive());
  world.barrier("order and sizes");
}

void check_ping_pong(World& world) {
  if (world.size() < 2 || world.rank() > 1) return world.barrier("ping-pong");
  Mailbox mailbox(world);
  const int peer = 1 - world.rank();
  const std::vector<AnyMessage> messages = testing::sample_messages();
  for (int round = 0; round < 50; ++round) {
    const AnyMessage& message = messages[index(round) % messages.size()];
    if (world.rank() == 0) mailbox.send(peer, message);
    const auto envelope = mailbox.wait(60.0);
    CHECK(envelope && envelope->from == peer && pack_message(envelope->message) == pack_message(message));
    if (!envelope) return;
    if (world.rank() == 1) mailbox.send(peer, envelope->message);
  }
  mailbox.flush(60.0);
  world.barrier("ping-pong");
}

void check_send_all(World& world) {
  Mailbox mailbox(world);
  if (world.is_coordinator()) {
    std::vector<int> everyone;
    for (int rank = 0; rank < world.size(); ++rank) everyone.push_back(rank);
    mailbox.send_all(everyone, numbered(0, 7, 6'000'000));
    CHECK(mailbox.bytes_sent() > 5'999'999LL * world.size());
  }
  const auto envelope = mailbox.wait(60.0);
  CHECK(envelope && envelope->from == world.coordinator_rank());
  CHECK(envelope && std::get<ControlMessage>(envelope->message).why == numbered(0, 7, 6'000'000).why);
  world.barrier("between");
  // Two ranks that flush towards each other with unread mail must both come out of it.
  mailbox.send((world.rank() + 1) % world.size(), numbered(world.rank(), 1, 12'000'000));
  mailbox.flush(60.0);
  CHECK(mailbox.wait(60.0).has_value());
  world.barrier("send_all");
}

// Every rank sends to rank 0, whose mail is held back: still whole, and in order per sender.
void check_delayed(World& world) {
  Mailbox mailbox(world, {.longest = 0.02, .seed = 7});
  constexpr int kMessages = 60;
  for (int i = 0; i < kMessages; ++i) mailbox.send(0, numbered(world.rank(), i, i % 7 == 0 ? 5'000'000 : 10));
  int arrived = 0;
  if (world.rank() == 0) {
    mailbox.on_arrival([&](int, const AnyMessage&) { ++arrived; });
    std::map<int, int> next;
    for (int got = 0; got < kMessages * world.size(); ++got) {
      const auto envelope = mailbox.wait(60.0);
      CHECK(envelope.has_value());
      if (!envelope) return;
      const auto& message = std::get<ControlMessage>(envelope->message);
      CHECK(message.step == 1000 * envelope->from + next[envelope->from]++);
    }
    CHECK(arrived == kMessages * world.size());
  }
  mailbox.flush(60.0);
  world.barrier("delayed");
}

void check_heartbeats(World& world) {
  Mailbox mailbox(world);
  HeartbeatSender sender(world, mailbox);
  sender.enter_phase(fmt::format("phase {}", world.rank()), 10.0);
  if (world.is_coordinator()) {
    Watchdog watchdog(world, 10.0);
    for (int i = 0; i < world.size(); ++i) {
      const auto envelope = mailbox.wait(60.0);
      CHECK(envelope.has_value());
      if (envelope)
        watchdog.heard(envelope->from, std::get<HeartbeatMessage>(envelope->message), 20.0 + envelope->from);
    }
    const auto silent = watchdog.silent(1000.0);
    CHECK(silent && silent->rank == 0);
    CHECK(silent && silent->text.find("it was last in phase 'phase 0'") != std::string::npos);
    CHECK(silent && silent->text.find(world.describe_rank(0)) == 0);
  }
  mailbox.flush(60.0);
  world.barrier("heartbeats");
}

std::vector<float> contribution(int rank, size_t n) {
  std::mt19937 random(static_cast<unsigned>(rank) * 1000U + static_cast<unsigned>(n % 997));
  std::vector<float> values(n);
  for (float& value : values) {
    value = std::ldexp(static_cast<float>(random()) / 4e9F - 0.5F, static_cast<int>(random() % 24));
  }
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void check_collectives(World& world) {
  if (!world.learns()) return;
  const auto group = make_learner_collectives(world, Transport::kMpi);
  const int size = group->size();
  CHECK(size == world.n_learners() && group->rank() == world.learner_index() && !group->on_device());
  for (const size_t n : {size_t{0}, size_t{1}, size_t{3}, size_t{1000}, size_t{262'144}, size_t{1'300'001}}) {
    std::vector<float> sum = contribution(0, n);
    for (int r = 1; r < size; ++r) {
      const std::vector<float> other = contribution(r, n);
      for (size_t i = 0; i < n; ++i) sum[i] += other[i];
    }
    std::vector<float> values = contribution(group->rank(), n);
    group->start_all_reduce_sum(values).wait();
    CHECK(same_bits(values, sum));

    // Parts: n values each, the whole is size · n.
    std::vector<float> whole_sum = contribution(0, n * index(size));
    for (int r = 1; r < size; ++r) {
      const std::vector<float> other = contribution(r, n * index(size));
      for (size_t i = 0; i < whole_sum.size(); ++i) whole_sum[i] += other[i];
    }
    std::vector<float> part(n);
    group->start_reduce_scatter_sum(contribution(group->rank(), n * index(size)), part).wait();
    const auto begin = whole_sum.begin() + static_cast<std::ptrdiff_t>(n) * group->rank();
    CHECK(same_bits(part, {begin, begin + static_cast<std::ptrdiff_t>(n)}));
    std::vector<float> gathered(n * index(size));
    group->start_all_gather(std::as_bytes(std::span(part)), std::as_writable_bytes(std::span(gathered))).wait();
    CHECK(same_bits(gathered, whole_sum));
  }
  double sum = 0.1;
  for (int r = 1; r < size; ++r) sum += 0.1 * (r + 1);
  CHECK(group->all_reduce_sum(0.1 * (group->rank() + 1)) == sum);
  CHECK(group->all_reduce_max(-1.0 - group->rank()) == -1.0);
  CHECK(std::isnan(group->all_reduce_max(group->rank() == size - 1 ? std::nan("") : 1.0)));
}

// Several transfers on their way, ended in another order, with blocking calls between them on ranks that wait for
// different things meanwhile.
void check_transfers(World& world) {
  if (!world.learns()) return;
  const auto group = make_learner_collectives(world, Transport::kMpi);
  const int size = group->size();
  const size_t me = index(group->rank());
  constexpr size_t kPart = 300'001;
  const size_t n = kPart * index(size);
  std::vector<float> sum = contribution(0, n);
  for (int r = 1; r < size; ++r) {
    const std::vector<float> other = contribution(r, n);
    for (size_t i = 0; i < n; ++i) sum[i] += other[i];
  }
  std::vector<float> a = contribution(group->rank(), n);
  std::vector<float> b = a;
  std::vector<float> c = a;
  std::vector<std::byte> bytes(3 * index(size));
  const std::vector<std::byte> own(3, static_cast<std::byte>(me + 1));
  Transfer first = group->start_all_reduce_sum(a);
  Transfer second = group->start_reduce_scatter_sum(b, std::span<float>(b).subspan(kPart * me, kPart));
  Transfer third = group->start_all_gather(own, bytes);
  Transfer fourth = group->start_all_reduce_sum(c);
  if (me == 0) fourth.wait();
  CHECK(group->all_reduce_sum(1.0) == size);
  third.wait();
  while (!second.done()) group->progress();
  second.wait();
  fourth.wait();
  first.wait();
  CHECK(same_bits(a, sum) && same_bits(c, sum));
  CHECK(std::equal(b.begin() + static_cast<std::ptrdiff_t>(kPart * me),
                   b.begin() + static_cast<std::ptrdiff_t>(kPart * (me + 1)),
                   sum.begin() + static_cast<std::ptrdiff_t>(kPart * me)));
  for (size_t i = 0; i < bytes.size(); ++i) CHECK(bytes[i] == static_cast<std::byte>(i / 3 + 1));
}

std::byte weight_byte(size_t i, int number) {
  return static_cast<std::byte>((i * 7 + i / 65'521 + index(number) * 31) % 251);
}

// Transfers of many small and a few large parts, one after the other; the coordinator's buffers go away at once.
void check_weights(World& world) {
  if (world.size() == 1) return;
  WeightsChannel channel(world);
  CHECK(!channel.busy() && channel.progress());
  const std::vector<size_t> sizes = {1, 0, 40U << 20, 100, (16U << 20) + 1};
  for (int number = 0; number < 3; ++number) {
    std::vector<size_t> parts = sizes;
    parts.insert(parts.begin(), index(200 * number), 37);
    auto buffers = std::make_shared<std::vector<std::vector<std::byte>>>();
    for (const size_t size : parts) buffers->emplace_back(size);
    const bool sends = world.is_coordinator();
    if (sends) {
      for (auto& buffer : *buffers) {
        for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = weight_byte(i, number);
      }
      std::vector<std::span<const std::byte>> spans(buffers->begin(), buffers->end());
      channel.start_send(spans, std::exchange(buffers, nullptr));
    } else if (world.searches()) {
      std::vector<std::span<std::byte>> spans(buffers->begin(), buffers->end());
      channel.start_receive(spans, nullptr);
    }
    Backoff backoff(world.rank() % 2 == 0 ? 100 : 0);
    while (!channel.progress()) backoff.pause();
    if (!world.searches()) continue;
    for (const auto& buffer : *buffers) {
      size_t wrong = 0;
      for (size_t i = 0; i < buffer.size(); ++i) wrong += buffer[i] == weight_byte(i, number) ? 0 : 1;
      CHECK(wrong == 0);
    }
    size_t total = 0;
    for (const size_t size : parts) total += size;
    CHECK(channel.bytes() == static_cast<int64_t>(total) && channel.seconds() > 0);
  }
  world.barrier("weights");
}

int run_checks(World& world, int learners) {
  check_roles(world, learners);
  check_start_up(world);
  check_ping_pong(world);
  check_order_and_sizes(world);
  check_send_all(world);
  check_delayed(world);
  check_heartbeats(world);
  check_collectives(world);
  check_transfers(world);
  check_weights(world);
  const std::string error = world.first_error(failures > 0 ? fmt::format("{} checks failed", failures) : "");
  if (world.rank() == 0 && error.empty()) std::printf("comm: all checks passed on %d ranks\n", world.size());
  return error.empty() ? 0 : 1;
}

// Not a check: how fast a policy of `megabytes` reaches all search ranks when they only wait for it.
int show_weights_rate(World& world, size_t megabytes) {
  const auto buffer = std::make_shared<std::vector<std::byte>>(megabytes * 1'000'000, std::byte{1});
  WeightsChannel channel(world);
  for (int round = 0; round < 3; ++round) {
    world.barrier("rate");
    const Stopwatch watch;
    if (world.is_coordinator()) channel.start_send({*buffer}, buffer);
    if (world.searches()) channel.start_receive({*buffer}, buffer);
    Backoff backoff(2000);
    while (!channel.progress()) backoff.pause();
    world.barrier("rate");
    if (world.is_coordinator()) {
      std::printf("%zu MB to %d search ranks: %.3f s, %.2f GB/s a rank; the coordinator's part %.3f s\n", megabytes,
                  world.n_search(), watch.seconds(), static_cast<double>(megabytes) / 1e3 / watch.seconds(),
                  channel.seconds());
    }
  }
  return 0;
}

// The others wait for what will never come; only the failing rank's end can end them.
void wait_for_ever(World& world) {
  Mailbox mailbox(world);
  mailbox.wait(1e6);
}

int run(const std::string& mode, int learners, World& world) {
  RanksParams params;
  params.learners = learners;
  if (mode == "stuck") params.heartbeat_seconds = 0.1;
  if (mode == "stuck") params.stuck_seconds = 0.5;
  world.assign_roles(params);
  if (mode == "checks") return run_checks(world, learners);
  if (mode == "weights_rate") return show_weights_rate(world, 500);
  const bool fails = world.rank() == 1;
  if (!fails) {
    wait_for_ever(world);
    return 1;
  }
  if (mode == "abort") world.abort("growing", "out of cheese", 7);
  if (mode == "exception") failure("an exception only this rank has");
  if (mode == "killed") std::raise(SIGKILL);
  if (mode == "stuck") {  // in a call that never returns, of which the others know nothing
    const StuckWatch watch(world);
    enter_phase("learning");
    MPI_Request request = MPI_REQUEST_NULL;
    char byte = 0;
    MPI_Irecv(&byte, 1, MPI_CHAR, 2, 5, world.impl().world, &request);
    wait_one(request, world.impl(), "MPI_Irecv", 2);
  }
  if (mode == "garbage") {
    const char garbage[] = "this is not a message of ours, though it is longer than a header";
    MPI_Send(garbage, sizeof garbage, MPI_CHAR, 0, 1, world.impl().mail);
    wait_for_ever(world);
  }
  return 1;
}

// As a program does it: errors are caught inside the World's life, except where its destructor is what is tested.
int start(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "checks";
  const int learners = argc > 2 ? std::atoi(argv[2]) : 1;
  World world(&argc, &argv);
  if (mode == "exception") return run(mode, learners, world);
  try {
    return run(mode, learners, world);
  } catch (const Error& error) {
    if (error.exit_code() != kExitBadInput) world.abort("running", error.what(), error.exit_code());
    throw;
  }
}

}  // namespace
}  // namespace deepsearch

int main(int argc, char** argv) {
  try {
    return deepsearch::start(argc, argv);
  } catch (const deepsearch::Error& error) {
    std::fprintf(stderr, "error %d: %s\n", error.exit_code(), error.what());
    return error.exit_code();
  }
}
