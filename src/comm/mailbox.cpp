#include "comm/mailbox.h"

#include <algorithm>
#include <exception>
#include <map>
#include <utility>

#include "comm/delayed_mail.h"
#include "comm/wire.h"
#include "comm/world_impl.h"
#include "core/activity.h"
#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

constexpr int kTag = 1;
// Posted at once to one receiver (256 MiB) and taken at once from all senders.
constexpr size_t kMaxPostedPieces = 64;
constexpr size_t kMaxTakenPieces = 64;
// Sends are looked after once in so many calls that have other things to do.
constexpr size_t kSendsPerLook = 32;
constexpr size_t kReceivesPerLook = 16;

using SharedBytes = std::shared_ptr<const std::vector<char>>;

struct Outgoing {
  SharedBytes bytes;
  size_t posted = 0;                 // bytes handed to MPI
  std::deque<MPI_Request> requests;  // of the pieces not known to be done
};

struct Piece {
  std::unique_ptr<char[]> bytes;
  size_t size = 0;
  MPI_Request request = MPI_REQUEST_NULL;
};

// What comes from one sender: pieces in the order they were sent, and the message they are put together to.
struct Incoming {
  std::deque<Piece> pieces;
  std::vector<char> message;
  size_t expected = 0;  // bytes of the message being put together; 0: none
};

}  // namespace

struct Mailbox::Impl {
  Impl(World& w, const Delay& delay)
      : world(w.impl()), delayed(delay.longest, mix_all(delay.seed, static_cast<uint64_t>(w.rank()))) {}

  void post(int to, Outgoing& message);
  bool done(int to, Outgoing& message);
  void post_next(int to, std::deque<Outgoing>& messages);
  void progress_sends();
  void take_arrivals();
  void progress_receives();
  void finish_piece(int from, Incoming& incoming);
  void deliver(int from, const char* bytes, size_t size);
  void poll();
  std::optional<Envelope> next();
  void queue(int to, const SharedBytes& bytes);

  World::Impl& world;
  std::map<int, std::deque<Outgoing>> outgoing;  // by receiver; a receiver's messages leave in order
  std::map<int, Incoming> incoming;              // by sender
  size_t pieces_taken = 0;
  size_t handed_out = 0;
  std::deque<SharedBytes> loopback;
  std::deque<Envelope> ready;
  int64_t messages_sent = 0;
  int64_t messages_received = 0;
  DelayedMail delayed;
  Listener listener;
  int64_t bytes_sent = 0;
  int64_t bytes_received = 0;
  double seconds_serialising = 0;
};

void Mailbox::Impl::post(int to, Outgoing& message) {
  const std::vector<char>& bytes = *message.bytes;
  while (message.posted < bytes.size() && message.requests.size() < kMaxPostedPieces) {
    const size_t size = std::min(kMaxPieceBytes, bytes.size() - message.posted);
    MPI_Request request = MPI_REQUEST_NULL;
    DEEPSEARCH_MPI(
        world, to,
        MPI_Isend(bytes.data() + message.posted, static_cast<int>(size), MPI_BYTE, to, kTag, world.mail, &request));
    message.requests.push_back(request);
    message.posted += size;
  }
}

// Drops what MPI is done with. In order: a look at every message would cost a burst of n messages n²/2 calls, and
// each call that finds nothing done may give the core away.
bool Mailbox::Impl::done(int to, Outgoing& message) {
  while (!message.requests.empty()) {
    int done = 0;
    DEEPSEARCH_MPI(world, to, MPI_Test(&message.requests.front(), &done, MPI_STATUS_IGNORE));
    if (done == 0) return false;
    message.requests.pop_front();
  }
  return message.posted == message.bytes->size();
}

// A message is begun once the one before it has been posted whole: MPI keeps the order of what is posted.
void Mailbox::Impl::post_next(int to, std::deque<Outgoing>& messages) {
  auto next = messages.end();
  while (next != messages.begin() && std::prev(next)->posted < std::prev(next)->bytes->size()) --next;
  for (; next != messages.end(); ++next) {
    if (next->posted > 0) done(to, *next);
    post(to, *next);
    if (next->posted < next->bytes->size()) return;
  }
}

void Mailbox::Impl::progress_sends() {
  for (auto lane = outgoing.begin(); lane != outgoing.end();) {
    std::deque<Outgoing>& messages = lane->second;
    post_next(lane->first, messages);
    while (!messages.empty() && done(lane->first, messages.front())) messages.pop_front();
    lane = messages.empty() ? outgoing.erase(lane) : std::next(lane);
  }
}

void Mailbox::Impl::take_arrivals() {
  while (pieces_taken < kMaxTakenPieces) {
    int found = 0;
    MPI_Message handle = MPI_MESSAGE_NULL;
    MPI_Status status;
    DEEPSEARCH_MPI(world, -1, MPI_Improbe(MPI_ANY_SOURCE, kTag, world.mail, &found, &handle, &status));
    if (found == 0) return;
    const int from = status.MPI_SOURCE;
    MPI_Count size = 0;
    DEEPSEARCH_MPI(world, from, MPI_Get_elements_x(&status, MPI_BYTE, &size));
    if (size < 1 || static_cast<size_t>(size) > kMaxPieceBytes) {
      failure("{}: a piece of {} bytes came from {}; pieces have 1 to {}", world.describe_rank(world.rank), size,
              world.describe_rank(from), kMaxPieceBytes);
    }
    Piece piece;
    piece.size = static_cast<size_t>(size);
    piece.bytes = std::make_unique_for_overwrite<char[]>(piece.size);
    DEEPSEARCH_MPI(world, from,
                   MPI_Imrecv(piece.bytes.get(), static_cast<int>(size), MPI_BYTE, &handle, &piece.request));
    incoming[from].pieces.push_back(std::move(piece));
    ++pieces_taken;
  }
}

void Mailbox::Impl::progress_receives() {
  for (auto& [from, in] : incoming) {
    while (!in.pieces.empty()) {
      int done = 0;
      DEEPSEARCH_MPI(world, from, MPI_Test(&in.pieces.front().request, &done, MPI_STATUS_IGNORE));
      if (done == 0) break;
      finish_piece(from, in);
    }
  }
}

void Mailbox::Impl::finish_piece(int from, Incoming& in) {
  const Piece piece = std::move(in.pieces.front());
  in.pieces.pop_front();
  --pieces_taken;
  bytes_received += static_cast<int64_t>(piece.size);
  try {
    if (in.expected == 0) {
      const size_t expected = sizeof(MessageHeader) + read_header(piece.bytes.get(), piece.size).length;
      if (expected == piece.size) return deliver(from, piece.bytes.get(), piece.size);
      in.message.reserve(expected);
      in.expected = expected;
    }
    const size_t right = std::min(kMaxPieceBytes, in.expected - in.message.size());
    if (piece.size != right) failure("malformed message: a piece of {} bytes instead of {}", piece.size, right);
    in.message.insert(in.message.end(), piece.bytes.get(), piece.bytes.get() + piece.size);
    if (in.message.size() < in.expected) return;
    in.expected = 0;
    const std::vector<char> message = std::exchange(in.message, {});
    deliver(from, message.data(), message.size());
  } catch (const Error& error) {
    throw error.within(fmt::format("{}: from {}", world.describe_rank(world.rank), world.describe_rank(from)));
  }
}

void Mailbox::Impl::deliver(int from, const char* bytes, size_t size) {
  const Stopwatch watch;
  Envelope envelope{from, unpack_message(bytes, size)};
  ++messages_received;
  seconds_serialising += watch.seconds();
  if (listener) listener(from, envelope.message);
  if (delayed.on()) {
    delayed.hold(std::move(envelope), now_seconds());
  } else {
    ready.push_back(std::move(envelope));
  }
}

void Mailbox::Impl::poll() {
  const CurrentOperation operation("MPI exchange of messages");  // MPI itself can hang, where a peer was stopped
  progress_sends();
  while (!loopback.empty()) {
    const SharedBytes bytes = loopback.front();
    loopback.pop_front();
    bytes_received += static_cast<int64_t>(bytes->size());
    deliver(world.rank, bytes->data(), bytes->size());
  }
  if (world.size == 1) return;
  take_arrivals();
  progress_receives();
}

std::optional<Envelope> Mailbox::Impl::next() {
  // While something is ready nothing more is taken: what is not wanted yet waits at its sender.
  if (ready.empty()) {
    poll();
  } else if (++handed_out % kReceivesPerLook == 0) {
    progress_sends();
  }
  if (delayed.on()) delayed.release(now_seconds(), ready);
  if (ready.empty()) return std::nullopt;
  Envelope envelope = std::move(ready.front());
  ready.pop_front();
  return envelope;
}

void Mailbox::Impl::queue(int to, const SharedBytes& bytes) {
  if (to < 0 || to >= world.size) {
    failure("{}: cannot send to rank {}: ranks are 0 to {}", world.describe_rank(world.rank), to, world.size - 1);
  }
  ++messages_sent;
  bytes_sent += static_cast<int64_t>(bytes->size());
  if (to == world.rank) {
    loopback.push_back(bytes);
  } else {
    std::deque<Outgoing>& messages = outgoing[to];
    messages.push_back({bytes, 0, {}});
    post_next(to, messages);
    // Whoever sends and sends without receiving gives buffers back all the same.
    if (messages.size() % kSendsPerLook == 0 && done(to, messages.front())) messages.pop_front();
  }
}

Mailbox::Mailbox(World& world, const Delay& delay) : impl_(std::make_unique<Impl>(world, delay)) {}

Mailbox::Mailbox(World& world)
    : Mailbox(world, {.longest = world.params().test_delay_ms / 1e3,
                      .seed = static_cast<uint64_t>(world.params().test_delay_seed)}) {}

Mailbox::~Mailbox() {
  impl_->listener = nullptr;
  if (impl_->outgoing.empty() && impl_->pieces_taken == 0) return;
  bool clean = std::uncaught_exceptions() == 0;
  if (clean) {
    try {
      flush(5.0);
    } catch (const std::exception& error) {
      write_log(LogLevel::kWarning, error.what());
    }
    clean = impl_->outgoing.empty() && impl_->pieces_taken == 0;
  }
  // MPI still reads and writes these buffers: they must outlive us, and the process is about to end.
  if (!clean) static_cast<void>(impl_.release());
}

void Mailbox::send(int to, const AnyMessage& message) {
  send_all({to}, message);
}

void Mailbox::send_all(const std::vector<int>& to, const AnyMessage& message) {
  if (to.empty()) return;
  const Stopwatch watch;
  const auto bytes = std::make_shared<const std::vector<char>>(pack_message(message));
  impl_->seconds_serialising += watch.seconds();
  for (int rank : to) impl_->queue(rank, bytes);
}

std::optional<Envelope> Mailbox::receive() {
  return impl_->next();
}

std::optional<Envelope> Mailbox::wait(double timeout_seconds) {
  const Stopwatch watch;
  Backoff backoff(0);
  for (;;) {
    if (std::optional<Envelope> envelope = impl_->next()) return envelope;
    const double left = timeout_seconds - watch.seconds();
    if (left <= 0) return std::nullopt;
    backoff.pause(left);
  }
}

void Mailbox::flush(double timeout_seconds) {
  const Stopwatch watch;
  Backoff backoff(0);
  for (;;) {
    impl_->poll();  // also takes what comes: two ranks that flush towards each other must not wait for ever
    if (impl_->outgoing.empty()) return;
    if (watch.seconds() > timeout_seconds) {
      const int to = impl_->outgoing.begin()->first;
      failure("{}: sending to {} did not finish within {:.1f} s", impl_->world.describe_rank(impl_->world.rank),
              impl_->world.describe_rank(to), timeout_seconds);
    }
    backoff.pause();
  }
}

int64_t Mailbox::messages_sent() const {
  return impl_->messages_sent;
}
int64_t Mailbox::messages_received() const {
  return impl_->messages_received;
}
void Mailbox::take_in() {
  impl_->poll();
}

void Mailbox::on_arrival(Listener listener) {
  impl_->listener = std::move(listener);
}

int64_t Mailbox::bytes_sent() const {
  return impl_->bytes_sent;
}
int64_t Mailbox::bytes_received() const {
  return impl_->bytes_received;
}
double Mailbox::seconds_serialising() const {
  return impl_->seconds_serialising;
}

const char* kind_name(const AnyMessage& message) {
  constexpr const char* kNames[] = {"assign", "tree",   "weights",  "heartbeat", "control", "report", "load",
                                    "share",  "expand", "expanded", "forget",    "cancel"};  // as in AnyMessage
  static_assert(std::size(kNames) == std::variant_size_v<AnyMessage>);
  return kNames[message.index()];
}

void nobody_takes(const World& world, const Envelope& envelope) {
  failure("{} sent {} a message of kind \"{}\", which it has no use for", world.describe_rank(envelope.from),
          world.describe_rank(world.rank()), kind_name(envelope.message));
}

}  // namespace deepsearch
