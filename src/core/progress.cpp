#include "core/progress.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr int kBarWidth = 24;

std::atomic<bool> bar_on_line{false};

size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 80;
}

// Cut to `columns` characters, not inside a UTF-8 sequence: a bar that wraps cannot be redrawn in place.
std::string_view cut_to_columns(std::string_view text, size_t columns) {
  size_t shown = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts_character = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (starts_character && ++shown > columns) return text.substr(0, i);
  }
  return text;
}

std::string bar(double fraction) {
  const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kBarWidth);
  std::string text = "[";
  text.append(static_cast<size_t>(filled), '#');
  text.append(static_cast<size_t>(kBarWidth - filled), '.');
  return text + "] ";
}

// A bar only where a person watches. Under mpirun a rank's stdout is a terminal of mpirun's own even when the job's
// output goes to a file, so there the script that starts it says which (DEEPSEARCH_PROGRESS=bar or lines).
bool wants_bar() {
  const char* wish = std::getenv("DEEPSEARCH_PROGRESS");
  if (wish != nullptr && *wish != '\0') return std::string_view(wish) == "bar";
  return isatty(STDOUT_FILENO) != 0 && std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr;
}

}  // namespace

Progress::Progress(std::string label, int64_t total, bool enabled, double interval_seconds)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 0)),
      enabled_(enabled),
      terminal_(wants_bar()),
      interval_seconds_(interval_seconds) {}

Progress::~Progress() {
  try {
    finish();
  } catch (...) {  // out of memory while formatting: losing a progress line is the least of it
  }
}

void Progress::update(int64_t done, const std::string& detail, double share) {
  if (!enabled_ || finished_) return;
  done_ = done;
  share_ = share;
  detail_ = detail;
  const double interval = terminal_ ? kRedrawSeconds : interval_seconds_;
  if (watch_.seconds() - drawn_at_ >= interval) draw(false);
}

void Progress::finish() {
  if (!enabled_ || finished_) return;
  draw(true);
  finished_ = true;
}

std::string Progress::count_text() const {
  if (share_ >= 0 || total_ == 0) return format_count(done_);
  return fmt::format("{}/{}", format_count(done_), format_count(total_));
}

std::string Progress::status(double seconds, bool final) const {
  std::string text;
  double share = share_;
  if (share < 0 && total_ > 0) share = static_cast<double>(done_) / static_cast<double>(total_);
  if (terminal_ && share >= 0) text += bar(share);
  text += count_text();
  if (share >= 0) text += fmt::format(" ({:.0f} %)", std::floor(100.0 * share));
  if (final) {
    text += fmt::format(" in {}", format_duration(seconds));
  } else if (share > start_ && share < 1) {
    text += fmt::format(", {} left", format_duration(seconds / (share - start_) * (1 - share)));
  }
  if (!detail_.empty()) text += ", " + detail_;
  return text;
}

void Progress::draw(bool final) {
  drawn_at_ = watch_.seconds();
  const std::string line = label_ + ": " + status(drawn_at_, final);
  if (terminal_) {
    const std::string_view shown = final ? std::string_view(line) : cut_to_columns(line, terminal_columns() - 1);
    fmt::print(stdout, "\r\x1b[K{}{}", shown, final ? "\n" : "");
    bar_on_line = !final;
  } else {
    fmt::print(stdout, "{}\n", line);
  }
  std::fflush(stdout);
}

void erase_progress_bar() {
  if (!bar_on_line.exchange(false)) return;
  std::fputs("\r\x1b[K", stdout);
  std::fflush(stdout);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "unknown";
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  if (seconds >= 1e15) return "unknown";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  const int64_t minutes = (whole + 30) / 60;
  if (minutes < int64_t{24} * 60) return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
  const int64_t hours = (whole + 1800) / 3600;
  return fmt::format("{} d {:02} h", hours / 24, hours % 24);
}

std::string format_count(int64_t count) {
  std::string digits = fmt::format("{}", count);
  const size_t first = digits[0] == '-' ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3; i -= 3) digits.insert(i - 3, 1, ' ');
  return digits;
}

std::string format_bytes(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  const char* unit = "KiB";
  for (const char* next : {"MiB", "GiB", "TiB", "PiB", "EiB"}) {
    if (value < 1023.95) break;  // 1024.0 after rounding belongs to the next unit
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.1f} {}", value, unit);
}

}  // namespace deepsearch
