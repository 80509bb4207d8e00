// Progress of long work: a bar that is redrawn on a terminal, a plain line per interval in a batch log. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "core/timer.h"

namespace deepsearch {

class Progress {
 public:
  // `label` names the work, `total` its units (0: unknown; no percentage and no time left then). `interval_seconds` is
  // for plain lines. With enabled = false nothing is ever printed (ranks other than the one that speaks).
  Progress(std::string label, int64_t total, bool enabled, double interval_seconds = 5.0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // What an earlier attempt did: `share` of the work (0 to 1), which says nothing about this one's speed.
  void start_at(double share) { start_ = share; }
  // `done` of total; `detail` is free text ("Pass@1 0.31, 12.1 trees/s"). `share` is that of the work where it is not
  // done/total: a run whose budget is counted in tokens has no number of steps to reach. Rate-limited; the time left is
  // worked out here.
  void update(int64_t done, const std::string& detail = "", double share = -1);
  // Draws the last state for good and ends the line. Idempotent.
  void finish();

 private:
  void draw(bool final);
  std::string status(double seconds, bool final) const;
  std::string count_text() const;
  std::string label_;
  int64_t total_;
  bool enabled_;
  bool terminal_;
  double interval_seconds_;
  int64_t done_ = 0;
  double share_ = -1;
  double start_ = 0;
  std::string detail_;
  Stopwatch watch_;
  double drawn_at_ = -1e9;
  bool finished_ = false;
};

std::string format_duration(double seconds);  // "1 h 02 min", "3 min 05 s", "4.2 s"
std::string format_count(int64_t count);      // "1 234 567"
std::string format_bytes(uint64_t bytes);     // "512 B", "1.5 KiB", "2.0 GiB"

// Wipes a bar that stands on the terminal's current line, so that a log line does not run into it; the next update
// draws it again. Any thread.
void erase_progress_bar();

}  // namespace deepsearch
