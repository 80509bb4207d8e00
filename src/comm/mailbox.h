// Mailbox: typed messages between ranks. send() never waits for the receiver (buffers are kept until MPI is done with
// them); receive() takes what has arrived, in order per sender. A message is a header (magic, version, kind, length,
// checksum) and a cereal payload, in pieces of bounded size; anything malformed is an error that names the sender.
// With [ranks].test_delay_ms, what is received is held back for random times (comm/delayed_mail.h).
// One thread. One Mailbox for the life of a World: mail that a destroyed one had taken is lost. In a world of one rank,
// messages to oneself go through memory.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "comm/messages.h"
#include "core/error.h"

namespace deepsearch {

class World;

using AnyMessage =
    std::variant<AssignMessage, TreeMessage, WeightsMessage, HeartbeatMessage, ControlMessage, ReportMessage,
                 LoadMessage, ShareMessage, ExpandMessage, ExpandedMessage, ForgetMessage, CancelMessage>;

// A message of another version than this program speaks.
class MessageVersionError : public Error {
 public:
  MessageVersionError(uint32_t found, uint32_t wanted, const std::string& text, int exit_code = kExitFailure)
      : Error(text, exit_code), found_(found), wanted_(wanted) {}
  uint32_t found() const { return found_; }
  uint32_t wanted() const { return wanted_; }

 private:
  uint32_t found_;
  uint32_t wanted_;
};

struct Envelope {
  int from = -1;  // world rank
  AnyMessage message;
};

// "tree", "weights", …: for people.
const char* kind_name(const AnyMessage& message);
// failure(): who sent what, to a rank that has no use for it. A wrong route would otherwise show as a hang elsewhere.
[[noreturn]] void nobody_takes(const World& world, const Envelope& envelope);

class Mailbox {
 public:
  // How long messages are held back; the second form takes it from [ranks].test_delay_ms.
  struct Delay {
    double longest = 0;  // seconds; 0: not at all
    uint64_t seed = 0;
  };
  Mailbox(World& world, const Delay& delay);
  explicit Mailbox(World& world);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void send(int to, const AnyMessage& message);
  // The same bytes to many ranks, serialised once.
  void send_all(const std::vector<int>& to, const AnyMessage& message);
  std::optional<Envelope> receive();                     // at once
  std::optional<Envelope> wait(double timeout_seconds);  // sleeps between looks, so an idle rank leaves its core alone
  void flush(double timeout_seconds);                    // until all sends have left
  int64_t messages_sent() const;                         // send_all: one for each receiver
  int64_t messages_received() const;
  // Takes in what has come, to be received later: for code that is in the middle of something else.
  void take_in();
  // Called with every message as it arrives (before it is received; a test delay does not count), as often as there
  // are messages; null: nobody. It must not use the mailbox.
  using Listener = std::function<void(int from, const AnyMessage&)>;
  void on_arrival(Listener listener);
  int64_t bytes_sent() const;
  int64_t bytes_received() const;
  double seconds_serialising() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The wire format by itself, for tests and fuzzing.
std::vector<char> pack_message(const AnyMessage& message);
AnyMessage unpack_message(const char* bytes, size_t size);  // failure() on anything malformed, never more

}  // namespace deepsearch
