// Text log for people. One line is "12:30:01 search 3 | message"; a rank also writes log/rank-0003.log once its run
// folder exists. Levels by [run].log_level. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace deepsearch {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// `who` names the process ("search 3"); `to_terminal` is false for ranks whose chatter stays in their file (warnings
// and errors are always shown).
void start_log(const std::string& who, LogLevel level, bool to_terminal);
void log_to_file(const std::filesystem::path& path);
void write_log(LogLevel level, std::string_view message);
void flush_log();

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace deepsearch
