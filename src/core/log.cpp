#include "core/log.h"

#include <cstdio>
#include <memory>
#include <mutex>
#include <unistd.h>

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "core/error.h"
#include "core/progress.h"
#include "core/version.h"

namespace deepsearch {

namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// A percent sign in a name must not be read as one of spdlog's pattern flags.
std::string line_pattern(const std::string& who) {
  std::string pattern = "%H:%M:%S ";
  for (const char c : who) pattern += c == '%' ? std::string("%%") : std::string(1, c);
  return pattern + (who.empty() ? "| %v" : " | %v");
}

class Log {
 public:
  Log() : terminal_(std::make_shared<spdlog::sinks::stderr_sink_mt>()), logger_("deepsearch", terminal_) {
    start("", LogLevel::kInfo, true);
  }

  void start(const std::string& who, LogLevel level, bool to_terminal) {
    const std::lock_guard lock(mutex_);
    pattern_ = line_pattern(who);
    logger_.set_pattern(pattern_);
    logger_.set_level(spdlog_level(level));
    // Every line is flushed: a log is read while the run goes on, and a killed rank must not lose its last words.
    logger_.flush_on(spdlog::level::trace);
    terminal_->set_level(to_terminal ? spdlog::level::trace : spdlog::level::warn);
  }

  void add_file(const std::filesystem::path& path) {
    const std::lock_guard lock(mutex_);
    try {
      auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
      auto& sinks = logger_.sinks();
      sinks.resize(1);  // the terminal stays, an earlier file is closed
      sinks.push_back(std::move(file));
      logger_.set_pattern(pattern_);
      sinks.back()->log({"deepsearch", spdlog::level::info, program()});  // the file's first line, whatever the level
      sinks.back()->flush();
    } catch (const spdlog::spdlog_ex& error) {
      bad_input("cannot write the log {}: {}", path.string(), error.what());
    }
  }

  void write(LogLevel level, std::string_view message) {
    const std::lock_guard lock(mutex_);
    const auto severity = spdlog_level(level);
    if (terminal_->should_log(severity) && logger_.should_log(severity)) erase_progress_bar();
    const char* prefix = level == LogLevel::kWarning ? "warning: " : level == LogLevel::kError ? "error: " : "";
    logger_.log(severity, "{}{}", prefix, message);
  }

  void flush() {
    const std::lock_guard lock(mutex_);
    logger_.flush();
  }

 private:
  std::mutex mutex_;
  std::string pattern_;
  std::shared_ptr<spdlog::sinks::stderr_sink_mt> terminal_;
  spdlog::logger logger_;
};

Log& the_log() {
  static Log* log = new Log;  // never destroyed: threads and static destructors may log until the very end
  return *log;
}

}  // namespace

void start_log(const std::string& who, LogLevel level, bool to_terminal) {
  the_log().start(who, level, to_terminal);
}

void log_to_file(const std::filesystem::path& path) {
  the_log().add_file(path);
}

void write_log(LogLevel level, std::string_view message) {
  the_log().write(level, message);
}

void flush_log() {
  the_log().flush();
}

}  // namespace deepsearch
