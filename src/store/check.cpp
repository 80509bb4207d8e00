#include "store/check.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <map>
#include <sstream>
#include <sys/file.h>
#include <unistd.h>
#include <unordered_set>

#include "core/error.h"
#include "core/subprocess.h"
#include "store/apart.h"
#include "store/check_file.h"
#include "store/run_folder.h"
#include "store/writer_lock.h"

namespace deepsearch {
namespace {

// Names in a damaged file may have anything in them.
std::string in_a_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  return text;
}

const std::string kReport = "deepsearch check, report 1\n";

// What a child tells its parent: a line a fact, a letter and a text.
std::string packed(const InnerReport& inner) {
  const FileFacts& facts = inner.facts;
  std::string out = fmt::format("s{}\nc{}\na{}\n", static_cast<int>(inner.report.state),
                                in_a_line(inner.report.contents), in_a_line(facts.state));
  out += fmt::format("n{} {} {} {} {}\n", facts.is_run ? 1 : 0, facts.seed, facts.rank, facts.ranks, facts.left_rows);
  for (const std::string& finding : inner.report.findings) out += fmt::format("f{}\n", in_a_line(finding));
  for (const uint64_t key : facts.problem_keys) out += fmt::format("k{}\n", key);
  for (const std::string& link : facts.links) out += fmt::format("l{}\n", in_a_line(link));
  for (const auto& [table, rows] : facts.rows) out += fmt::format("r{} {}\n", rows, in_a_line(table));
  return out + ".\n";
}

bool unpack(const std::string& text, InnerReport& inner) {
  FileFacts& facts = inner.facts;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line) && !line.empty()) {
    const std::string rest = line.substr(1);
    std::istringstream numbers(rest);
    int64_t rows = 0;
    switch (line[0]) {
      case 's':
        inner.report.state = static_cast<FileState>(std::stoi(rest));
        break;
      case 'c':
        inner.report.contents = rest;
        break;
      case 'a':
        facts.state = rest;
        break;
      case 'n':
        numbers >> facts.is_run >> facts.seed >> facts.rank >> facts.ranks >> facts.left_rows;
        break;
      case 'f':
        inner.report.findings.push_back(rest);
        break;
      case 'k':
        facts.problem_keys.push_back(std::stoull(rest));
        break;
      case 'l':
        facts.links.push_back(rest);
        break;
      case 'r':
        numbers >> rows >> line;
        facts.rows[line] = rows;
        break;
      default:
        return line == ".";
    }
  }
  return false;
}

// Runs `work` in a child and brings its report back.
InnerReport apart(const std::filesystem::path& path, const std::function<InnerReport()>& work) {
  InnerReport inner;
  inner.report.path = path;
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  try {
    if (!unpack(run_apart(path.string(), error ? 0 : bytes, [&] { return packed(work()); }), inner)) {
      failure("{}: its check said half of what it should", path.string());
    }
  } catch (const Error& caught) {
    inner.report.state = FileState::kDamaged;
    inner.report.findings.push_back(caught.what());
    inner.crashed = dynamic_cast<const CrashedApart*>(&caught) != nullptr;
  }
  return inner;
}

// HDF5 has no good word for what the system says.
std::string system_trouble(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fmt::format("{}: cannot open: {}", path.string(), std::strerror(errno));
  close(descriptor);
  return "";
}

InnerReport checked(const std::filesystem::path& path) {
  if (const std::string trouble = system_trouble(path); !trouble.empty()) {
    InnerReport inner;
    inner.report.path = path;
    inner.report.findings.push_back(trouble);
    return inner;
  }
  InnerReport inner = apart(path, [&] { return check_file_here(path); });
  if (!inner.crashed) return inner;
  // After a block that it cannot read, libhdf5 may crash over the next: what was wrong first says more.
  const InnerReport first = apart(path, [&] { return check_file_here(path, /*only_first=*/true); });
  if (!first.crashed && !first.report.findings.empty()) {
    inner.report.findings.insert(inner.report.findings.begin(), first.report.findings.front());
  }
  return inner;
}

void sync_file(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool failed = descriptor < 0 || fsync(descriptor) != 0;
  if (descriptor >= 0) close(descriptor);
  if (failed) failure("{}: cannot bring it to the disk: {}", path.string(), std::strerror(errno));
}

// The old file stays until the new one has been checked and is on the disk.
void mend(InnerReport& inner) {
  const std::filesystem::path path = inner.report.path;
  std::filesystem::path temporary = path;
  temporary += ".mended.tmp";
  std::error_code error;
  std::filesystem::remove(temporary, error);
  const InnerReport written = apart(path, [&] {
    rewrite_file(path, temporary, inner.facts);
    return InnerReport{};
  });
  const auto give_up = [&](const std::vector<std::string>& findings) {
    std::filesystem::remove(temporary, error);
    inner.report.findings.insert(inner.report.findings.end(), findings.begin(), findings.end());
  };
  if (!written.report.findings.empty()) return give_up(written.report.findings);
  InnerReport mended = checked(temporary);
  const bool same =
      mended.facts.rows == inner.facts.rows && mended.report.findings.size() <= inner.report.findings.size();
  if (!same) {
    return give_up({path.string() + ": not mended: the new file does not hold what the old one does"});
  }
  if (is_being_written(path)) return give_up({path.string() + ": not mended: it is being written"});
  sync_file(temporary);
  std::filesystem::rename(temporary, path);
  inner.report.state = FileState::kClosed;
  inner.report.mended = fmt::format("kept {}; {} values of rows that were not whole are gone", inner.report.contents,
                                    inner.facts.left_rows);
  inner.facts.state = mended.facts.state;
  inner.facts.links = mended.facts.links;
  inner.facts.left_rows = 0;
}

InnerReport checked_and_mended(const std::filesystem::path& path, bool repair) {
  InnerReport inner = checked(path);
  if (inner.report.state == FileState::kKilled && repair) mend(inner);
  if (inner.report.state == FileState::kKilled) {
    inner.report.findings.push_back(fmt::format(
        "{}: its writer was killed: {} values of rows that are not whole; --repair mends it, whole rows all stay",
        path.string(), inner.facts.left_rows));
  }
  return inner;
}

// Files that never got their name: their writer was killed before, or is at it.
void check_leftovers(const std::filesystem::path& folder, bool repair, RunReport& report) {
  for (const std::filesystem::path& place : {folder, folder / "parts"}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(place, error)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".h5.tmp") && !name.ends_with(".h5.mended.tmp")) continue;
      const int descriptor = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
      const bool held =
          descriptor >= 0 && (flock(descriptor, LOCK_SH | LOCK_NB) != 0 || is_being_written(entry.path()));
      if (descriptor >= 0) close(descriptor);
      if (held) continue;
      if (repair && std::filesystem::remove(entry.path(), error)) continue;
      report.findings.push_back(entry.path().string() + ": left by a kill before it was complete; --repair removes it");
    }
  }
}

void check_links(const InnerReport& run, const std::vector<InnerReport>& parts, RunReport& report) {
  const std::string file = run.report.path.string();
  std::unordered_set<std::string> there;
  for (const InnerReport& part : parts) there.insert(part.report.path.filename().string());
  const std::unordered_set<std::string> linked(run.facts.links.begin(), run.facts.links.end());
  for (const std::string& name : run.facts.links) {
    if (!there.contains(name))
      report.findings.push_back(fmt::format("{}, /parts/{}: parts/{} is missing", file, name, name));
  }
  for (const std::string& name : there) {
    if (!linked.contains(name)) report.findings.push_back(fmt::format("{}, /parts: no link to parts/{}", file, name));
  }
}

void check_between(const InnerReport& run, const std::vector<InnerReport>& parts, RunReport& report) {
  if (run.report.state == FileState::kDamaged) return;
  if (run.report.state == FileState::kClosed) check_links(run, parts, report);
  const std::unordered_set<uint64_t> keys(run.facts.problem_keys.begin(), run.facts.problem_keys.end());
  for (const InnerReport& part : parts) {
    const std::string file = part.report.path.string();
    if (part.report.state == FileState::kDamaged) continue;
    if (part.facts.is_run) report.findings.push_back(file + ": a run.h5 in the place of a part");
    if (part.facts.seed != run.facts.seed) {
      report.findings.push_back(fmt::format("{}, attribute seed: {}; run.h5 has {}: a part of another run", file,
                                            part.facts.seed, run.facts.seed));
    }
    if (run.facts.state != "finished") continue;  // problems of trees on their way to the coordinator are not there yet
    const auto lost = std::count_if(part.facts.problem_keys.begin(), part.facts.problem_keys.end(),
                                    [&](uint64_t key) { return !keys.contains(key); });
    if (lost > 0) {
      report.findings.push_back(fmt::format("{}, /problems/key: {} of {} problems are not in run.h5's /problems", file,
                                            lost, part.facts.problem_keys.size()));
    }
  }
}

}  // namespace

bool RunReport::clean() const {
  return findings.empty() &&
         std::all_of(files.begin(), files.end(), [](const FileReport& file) { return file.clean(); });
}

FileReport check_file(const std::filesystem::path& path) {
  return checked_and_mended(path, /*repair=*/false).report;
}

std::string report_text(const std::filesystem::path& path) {
  return kReport + packed(checked_and_mended(path, /*repair=*/false));
}

void require_readable(const std::filesystem::path& path) {
  const Finished check = run_program({"/proc/self/exe", "check", "--report", path.string()});
  const size_t begin = check.output.find(kReport);  // others may have written before
  InnerReport inner;
  if (begin == std::string::npos || !unpack(check.output.substr(begin + kReport.size()), inner)) {
    failure("{}: the check of it ended with code {} and without a report", path.string(), check.code);
  }
  if (inner.report.state != FileState::kDamaged) return;
  bad_input("{}", inner.report.findings.empty() ? path.string() + ": damaged" : inner.report.findings.front());
}

RunReport check_run(const std::filesystem::path& folder, bool repair) {
  RunReport report;
  std::error_code error;
  if (std::filesystem::is_regular_file(folder, error)) {
    report.files.push_back(checked_and_mended(folder, repair).report);
    return report;
  }
  if (!std::filesystem::is_directory(folder, error)) bad_input("{}: no such run folder", folder.string());
  const std::filesystem::path run_file = folder / "run.h5";
  const std::vector<std::filesystem::path> paths = list_parts(folder);
  const bool has_run = std::filesystem::exists(run_file, error);
  if (!has_run && paths.empty()) bad_input("{}: no run in it: neither run.h5 nor parts/*.h5", folder.string());
  check_leftovers(folder, repair, report);
  std::vector<InnerReport> parts;
  for (const std::filesystem::path& path : paths) parts.push_back(checked_and_mended(path, repair));
  if (has_run) {
    const InnerReport run = checked_and_mended(run_file, repair);
    report.files.push_back(run.report);
    check_between(run, parts, report);
  } else {
    report.findings.push_back(run_file.string() + ": missing; a run has one from its start");
  }
  for (InnerReport& part : parts) report.files.push_back(std::move(part.report));
  return report;
}

}  // namespace deepsearch
