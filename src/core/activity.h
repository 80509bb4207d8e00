// What this process is doing, said by its main thread and readable from any other: phase, operation, the rank it is
// done with, and since when. A watching thread (comm/stuck_watch.h) and heartbeats tell it to people.
//
// The thread that speaks is the one that called speak_for_this_process(); on all others the calls do nothing. Writing
// takes no lock (a few relaxed stores and a look at the clock), so it may stand in loops. Names are string literals or
// otherwise live as long as the process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace deepsearch {

struct Activity {
  const char* phase = "starting";   // "searching", "learning", …
  const char* operation = nullptr;  // "MPI_Ibcast", "writing checkpoint"; null: none that is named
  int peer = -1;                    // world rank the operation is done with; −1: none, or several
  double phase_since = 0;           // now_seconds()
  double operation_since = 0;
  uint64_t progress = 0;  // grows whenever something was done
  uint64_t waits = 0;     // grows while the process waits and knows (WhileWaiting) that those it waits for are alive
};

void speak_for_this_process();
Activity current_activity();  // any thread; consistent in itself

void enter_phase(const std::string& phase);
const char* lasting(const std::string& text);  // a copy that lives as long as the process, one of each text; any thread

// The loop came round, a piece of the work is done. To be called at least every few seconds of ordinary work: between
// decode steps, micro-batches, blocks of a file.
void report_progress();
// Inside a loop that waits: nothing has come yet.
void report_waiting();

// For its lifetime: the operation that is under way. Nested ones hide the outer one.
class CurrentOperation {
 public:
  explicit CurrentOperation(const char* name, int peer = -1);
  ~CurrentOperation();
  CurrentOperation(const CurrentOperation&) = delete;
  CurrentOperation& operator=(const CurrentOperation&) = delete;
  void with(int peer);  // who it waits for is known now

 private:
  const char* outer_name_;
  int outer_peer_;
  double outer_since_;
};

// For its lifetime: `tell` is called from report_progress() and report_waiting(), at most every `seconds`, so that
// signs of life go out, and others' are looked at, in the middle of whatever takes long. It must not wait. One at a
// time; the newest counts.
class WhileWaiting {
 public:
  struct Hook;
  WhileWaiting(std::function<void()> tell, double seconds);
  ~WhileWaiting();
  WhileWaiting(const WhileWaiting&) = delete;
  WhileWaiting& operator=(const WhileWaiting&) = delete;

 private:
  std::unique_ptr<Hook> hook_;
};

}  // namespace deepsearch
