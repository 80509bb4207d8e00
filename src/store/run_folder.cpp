#include "store/run_folder.h"

#include <algorithm>
#include <regex>
#include <string>
#include <system_error>

#include "core/error.h"
#include "core/files.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;

bool matches(const fs::path& path, const char* pattern) {
  return std::regex_match(path.filename().string(), std::regex(pattern));
}

constexpr const char* kPartName = R"(s(\d{4,})-a(\d{2,})-(\d{4,})\.h5)";
constexpr const char* kPartFile = R"(s\d{4,}-a\d{2,}-\d{4,}\.h5(\.tmp)?)";
constexpr const char* kLogFile = R"(rank-\d{4,}\.log)";
constexpr const char* kCheckpoint = R"((tmp-)?step-\d+(\.tmp)?)";
constexpr const char* kTopFile = R"(\.?(config\.toml|run\.h5|evaluation\.json|table\.md)(\.tmp.*)?)";
constexpr const char* kTopFolder = R"((parts|log|checkpoints))";

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  if (!fs::is_directory(folder)) return paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Deletes what a run writes and nothing else.
void delete_run(const fs::path& folder) {
  for (const fs::path& path : entries(folder / "parts")) {
    if (matches(path, kPartFile)) fs::remove(path);
  }
  for (const fs::path& path : entries(folder / "log")) {
    if (matches(path, kLogFile)) fs::remove(path);
  }
  for (const fs::path& path : entries(folder / "checkpoints")) {
    if (matches(path, kCheckpoint)) fs::remove_all(path);
  }
  // run.h5 last: as long as it is there, a deletion that was broken off can be repeated with --force.
  std::vector<fs::path> top = entries(folder);
  std::stable_partition(top.begin(), top.end(), [](const fs::path& path) { return path.filename() != "run.h5"; });
  for (const fs::path& path : top) {
    if (matches(path, kTopFile)) fs::remove(path);
  }
}

void make_folders(const fs::path& folder) {
  for (const char* name : {"parts", "log", "checkpoints"}) create_folders(folder / name);
}

bool lies_in(const fs::path& folder, const fs::path& path) {
  const fs::path way = fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !way.empty() && *way.begin() != "..";
}

FolderState prepare(const fs::path& folder, bool force, bool resume) {
  if (force && resume) bad_input("{}: --force and --resume exclude each other", folder.string());
  if (fs::exists(folder) && !fs::is_directory(folder))
    bad_input("{}: a run's folder is needed, this is a file", folder.string());
  const std::vector<fs::path> found = entries(folder);
  const bool has_run = fs::exists(folder / "run.h5");
  if (found.empty()) {
    make_folders(folder);
    return FolderState::kFresh;
  }
  if (!has_run) {
    for (const fs::path& path : found) {
      if (matches(path, kTopFile) || matches(path, kTopFolder)) continue;
      bad_input("{}: no run.h5, but '{}' is there, which no run wrote; choose another folder", folder.string(),
                path.filename().string());
    }
  }
  if (!force && !resume) {
    bad_input("{}: a run is there already; --resume continues it, --force deletes it and starts anew", folder.string());
  }
  if (force) delete_run(folder);
  make_folders(folder);
  return resume ? FolderState::kResumed : FolderState::kFresh;
}

}  // namespace

FolderState prepare_run_folder(const fs::path& folder, bool force, bool resume, const fs::path& model) {
  try {
    if (force && !model.empty() && lies_in(folder / "checkpoints", model)) {
      bad_input("{}: --force would delete {}, which is used here; choose another folder", folder.string(),
                model.string());
    }
    return prepare(folder, force, resume);
  } catch (const fs::filesystem_error& error) {
    bad_input("{}: {}", folder.string(), error.code().message());
  }
}

fs::path part_path(const fs::path& folder, int search_index, int attempt, int sequence) {
  return folder / "parts" / fmt::format("s{:04}-a{:02}-{:04}.h5", search_index, attempt, sequence);
}

std::vector<fs::path> list_parts(const fs::path& folder) {
  std::vector<fs::path> parts;
  for (const fs::path& path : entries(folder / "parts")) {
    if (matches(path, kPartName)) parts.push_back(path);
  }
  return parts;
}

int next_attempt(const fs::path& folder) {
  int highest = 0;
  const std::regex pattern(kPartName);
  for (const fs::path& path : list_parts(folder)) {
    std::smatch match;
    const std::string name = path.filename().string();
    if (std::regex_match(name, match, pattern) && match[2].length() <= 6)
      highest = std::max(highest, std::stoi(match[2]));
  }
  return highest + 1;
}

}  // namespace deepsearch
