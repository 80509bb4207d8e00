#include "run/time_budget.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <regex>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/signals.h"
#include "core/timer.h"

namespace deepsearch {

namespace {

// Slurm gives a job without a limit a year.
constexpr int64_t kLongestJob = int64_t{2} * 366 * 86400;

int64_t number(const std::string& digits) {
  int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

}  // namespace

double parse_duration(const std::string& text, const std::string& key) {
  static const std::regex pattern(R"((?:(?:(\d{1,3})-)?(\d{1,4}):)?(?:(\d{1,5}):)?(\d{1,9}))");
  static const std::regex minutes(R"((\d{1,5}):([0-5]\d))");
  std::smatch match;
  double seconds = 0;
  if (std::regex_match(text, match, minutes)) {
    seconds = static_cast<double>(60 * number(match[1]) + number(match[2]));
  } else if (std::regex_match(text, match, pattern) && (!match[2].matched || match[3].matched)) {
    seconds = static_cast<double>(((number(match[1]) * 24 + number(match[2])) * 60 + number(match[3])) * 60 +
                                  number(match[4]));
  }
  if (seconds <= 0) {
    bad_input(
        "{} is \"{}\": seconds (\"5400\"), minutes and seconds (\"90:00\"), \"HH:MM:SS\" or \"D-HH:MM:SS\" are wanted",
        key, text);
  }
  return seconds;
}

TimeBudget::TimeBudget(double start, double limit, double checkpoint_seconds)
    : start_(start), limit_(limit), checkpoint_seconds_(checkpoint_seconds) {}

SlurmTime slurm_time_left(const char* end_time, int64_t now) {
  if (end_time == nullptr) return {};
  const std::string text = end_time;
  int64_t end = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), end);
  const auto ignored = [&](const std::string& why) {
    return SlurmTime{.seconds = 0,
                     .warning = fmt::format("SLURM_JOB_END_TIME is \"{}\", {}: it is passed over; give "
                                            "[run].time_limit, or have Slurm send a signal before the end",
                                            text, why)};
  };
  if (error != std::errc() || rest != text.data() + text.size()) return ignored("not seconds since 1970");
  if (end == 0) return {};  // without a limit
  if (end <= now)
    return ignored(fmt::format("{} ago by this host's clock",
                               format_duration(static_cast<double>(now) - static_cast<double>(end))));
  if (end - now > kLongestJob) {
    return ignored(fmt::format("more than {} days ahead by this host's clock", kLongestJob / 86400));
  }
  return {.seconds = static_cast<double>(end - now), .warning = ""};
}

TimeBudget TimeBudget::of_run(const std::string& time_limit, double checkpoint_seconds) {
  double limit = time_limit.empty() ? 0 : parse_duration(time_limit, "[run].time_limit");
  const SlurmTime left = slurm_time_left(std::getenv("SLURM_JOB_END_TIME"), static_cast<int64_t>(std::time(nullptr)));
  if (!left.warning.empty()) log_warning("{}", left.warning);
  if (left.seconds > 0) limit = limit > 0 ? std::min(limit, left.seconds) : left.seconds;
  return {now_seconds(), limit, checkpoint_seconds};
}

bool TimeBudget::over(double now, double work) const {
  if (limit_ <= 0) return false;
  // Twice the last checkpoint's time, since disks have bad moments, and a little for closing files.
  const double reserve = 2 * checkpoint_seconds_ + std::min(30.0, 0.05 * limit_);
  return now - start_ + work + reserve > limit_;
}

bool TimeBudget::stopping(double work) const {
  const double now = now_seconds();
  if (!stop_requested() && over(now, work)) {
    log_info("the time limit is near: {} of {} are spent", format_duration(now - start_), format_duration(limit_));
    request_stop(SIGALRM);
  }
  return stop_requested();
}

}  // namespace deepsearch
