#include "sweep/status.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include "core/error.h"
#include "store/apart.h"
#include "store/readers.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(4096, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

int64_t number(const std::string& text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

AttemptStart start_of(const fs::path& attempt) {
  AttemptStart start;
  std::istringstream lines(text_of(attempt / "start"));
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find('=');
    const std::string key = line.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : line.substr(equals + 1);
    if (key == "host") start.host = value;
    if (key == "pid") start.pid = number(value);
    if (key == "job") start.job = value;
  }
  return start;
}

int64_t attempts_of(const fs::path& run) {
  int64_t count = 0;
  while (fs::exists(run / "log" / fmt::format("attempt-{}", count + 1))) ++count;
  return count;
}

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

// A run's evaluations, and the steps that are done.
struct Scores {
  int64_t step = 0;
  std::vector<double> at;
  std::vector<double> pass_at_1;
};

// Read in a child, since libhdf5 may crash on a damaged file, and told as numbers with blanks between.
Scores read_scores(const fs::path& run) {
  const fs::path file = run / "run.h5";
  std::error_code error;
  const uint64_t bytes = fs::file_size(file, error);
  const std::string told = run_apart(file.string(), error ? 0 : bytes, [&] {
    const RunReader reader(run);
    const std::vector<double> steps = reader.column("learner", "step");
    std::string text = fmt::format("{}", steps.empty() ? 0.0 : steps.back());
    const std::vector<double> at = reader.column("eval", "step");
    const std::vector<double> scores = reader.column("eval", "pass_at_1");
    for (size_t i = 0; i < std::min(at.size(), scores.size()); ++i) text += fmt::format(" {} {}", at[i], scores[i]);
    return text;
  });
  Scores scores;
  std::istringstream words(told);
  std::string word;
  words >> word;
  const double step = std::stod(word);
  scores.step = std::isfinite(step) ? static_cast<int64_t>(step) : 0;
  while (words >> word) {
    scores.at.push_back(std::stod(word));
    words >> word;
    scores.pass_at_1.push_back(std::stod(word));
  }
  return scores;
}

void read_metrics(const fs::path& run, RunStatus& status) {
  status.best = std::nan("");
  if (!fs::exists(run / "run.h5")) return;
  try {
    const Scores scores = read_scores(run);
    status.step = scores.step;
    for (size_t i = 0; i < scores.at.size(); ++i) {
      if (!std::isnan(status.best) && scores.pass_at_1[i] <= status.best) continue;
      status.best = scores.pass_at_1[i];
      status.best_step = static_cast<int64_t>(scores.at[i]);
    }
  } catch (const Error& error) {
    // Being written just now, or cut off by a kill: the logs tell the rest.
    if (status.reason.empty()) status.reason = one_line(error.what());
  }
}

void read_attempt(const fs::path& run, const AliveQuery& alive, RunStatus& status) {
  const fs::path attempt = run / "log" / fmt::format("attempt-{}", status.attempts);
  const std::string ended = text_of(attempt / "exit");
  const Alive life = alive(start_of(attempt));
  if (life == Alive::kQueued) {
    status.state = PointState::kQueued;
  } else if (ended.empty()) {
    status.state = life == Alive::kRunning ? PointState::kRunning : PointState::kFailed;
    if (life == Alive::kGone) status.reason = "killed: the attempt left no exit code";
  } else if (number(ended) == 75) {
    status.state = PointState::kStopped;
  } else {
    status.state = PointState::kFailed;
    const size_t second = ended.find('\n');
    const std::string why = second == std::string::npos ? "" : one_line(ended.substr(second + 1));
    status.reason = why.empty() ? fmt::format("exit code {}", number(ended)) : why;
  }
}

}  // namespace

const char* to_string(PointState state) {
  switch (state) {
    case PointState::kWaiting:
      return "waiting";
    case PointState::kQueued:
      return "queued";
    case PointState::kRunning:
      return "running";
    case PointState::kStopped:
      return "stopped";
    case PointState::kFailed:
      return "failed";
    case PointState::kDropped:
      return "dropped";
    case PointState::kDone:
      break;
  }
  return "done";
}

Alive alive_here(const AttemptStart& start) {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  if (!start.job.empty() || start.pid <= 0 || start.host != name) return Alive::kGone;
  const bool there = kill(static_cast<pid_t>(start.pid), 0) == 0 || errno == EPERM;
  return there ? Alive::kRunning : Alive::kGone;
}

bool is_done(const fs::path& run) {
  return fs::exists(run / "log" / "done");
}

RunStatus run_status(const fs::path& run, const AliveQuery& alive) {
  RunStatus status;
  status.attempts = attempts_of(run);
  if (is_done(run)) {
    status.state = PointState::kDone;
  } else if (fs::exists(run / "log" / "dropped")) {
    status.state = PointState::kDropped;
    status.reason = one_line(text_of(run / "log" / "dropped"));
  } else if (status.attempts > 0) {
    read_attempt(run, alive, status);
  } else if (alive({}) == Alive::kQueued) {
    status.state = PointState::kQueued;
  }
  read_metrics(run, status);
  return status;
}

double score_at(const fs::path& run, int64_t step) {
  double score = std::nan("");
  if (!fs::exists(run / "run.h5")) return score;
  try {
    const Scores scores = read_scores(run);
    for (size_t i = 0; i < scores.at.size(); ++i) {
      if (scores.at[i] <= static_cast<double>(step)) score = scores.pass_at_1[i];
    }
  } catch (const Error&) {
    return score;
  }
  return score;
}

}  // namespace deepsearch
