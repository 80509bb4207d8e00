#include "run/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <regex>
#include <system_error>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/version.h"
#include "model/json_reader.h"

namespace deepsearch {

namespace fs = std::filesystem;

namespace {

constexpr const char* kManifest = "manifest.json";
constexpr uint64_t kManifestBytes = 64 << 20;
constexpr int64_t kVersion = 1;

std::string name_of(int64_t step) {
  return fmt::format("step-{:06}", step);
}

fs::path temporary_path(const fs::path& run, int64_t step) {
  return run / "checkpoints" / ("tmp-" + name_of(step));
}

fs::path replaced_path(const fs::path& run, int64_t step) {
  return run / "checkpoints" / (name_of(step) + ".tmp");
}

// File system errors as everywhere: one line with the path, exit code 2.
template <class Work>
auto guarded(Work&& work) {
  try {
    return work();
  } catch (const fs::filesystem_error& error) {
    fail_with_errno("change", error.path1(), error.code().value());
  }
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

void write_manifest(const fs::path& folder, int64_t step) {
  nlohmann::ordered_json manifest = {
      {"format", "deepsearch checkpoint"}, {"version", kVersion}, {"program", program()}, {"step", step}};
  for (const fs::path& file : files_below(folder)) {
    const FileDigest digest = digest_file(folder / file);
    manifest["files"][file.generic_string()] = {{"bytes", digest.bytes},
                                                {"xxh64", fmt::format("{:016x}", digest.xxh64)}};
  }
  write_file_atomically(folder / kManifest, manifest.dump(1) + "\n");
}

void check_file(const fs::path& folder, const std::string& name, const JsonReader& entry) {
  const fs::path relative(name);
  const bool inside = relative.is_relative() &&
                      std::none_of(relative.begin(), relative.end(), [](const fs::path& part) { return part == ".."; });
  if (!inside) bad_input("{}: \"{}\" does not lie in the checkpoint", entry.where(), name);
  const fs::path path = folder / relative;
  if (!fs::is_regular_file(path)) bad_input("{}: not there, though {} lists it", path.string(), kManifest);
  const auto bytes = static_cast<uint64_t>(entry.integer("bytes"));
  const uint64_t found = fs::file_size(path);
  if (found != bytes) bad_input("{}: {} bytes instead of {}", path.string(), found, bytes);
  const std::string expected = entry.text("xxh64", "");
  const std::string digest = fmt::format("{:016x}", digest_file(path).xxh64);
  if (digest != expected)
    bad_input("{}: checksum {} instead of {}: its content has changed", path.string(), digest, expected);
}

std::optional<int64_t> step_of(const std::string& name, const std::regex& pattern) {
  std::smatch match;
  if (!std::regex_match(name, match, pattern)) return {};
  const std::string digits = match[1];
  int64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc() || end != digits.data() + digits.size()) return {};
  return step;
}

std::vector<int64_t> steps_named(const fs::path& run, const char* pattern) {
  std::vector<int64_t> steps;
  const fs::path folder = run / "checkpoints";
  if (!fs::is_directory(folder)) return steps;
  const std::regex name(pattern);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (const auto step = step_of(entry.path().filename().string(), name)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

}  // namespace

fs::path checkpoint_path(const fs::path& run, int64_t step) {
  return run / "checkpoints" / name_of(step);
}

fs::path begin_checkpoint(const fs::path& run, int64_t step) {
  return guarded([&] {
    const fs::path folder = temporary_path(run, step);
    fs::remove_all(folder);
    create_folders(folder / "resume");
    return folder;
  });
}

void publish_checkpoint(const fs::path& run, int64_t step) {
  guarded([&] {
    const fs::path temporary = temporary_path(run, step);
    const fs::path final = checkpoint_path(run, step);
    const fs::path replaced = replaced_path(run, step);
    write_manifest(temporary, step);
    sync_folder(temporary / "resume");
    sync_folder(temporary);
    fs::remove_all(replaced);
    if (fs::exists(final)) fs::rename(final, replaced);
    fs::rename(temporary, final);
    sync_folder(final.parent_path());
    fs::remove_all(replaced);
  });
}

void check_checkpoint(const fs::path& checkpoint) {
  guarded([&] {
    const fs::path path = checkpoint / kManifest;
    if (!fs::exists(path))
      bad_input("{}: no {}: it was not finished, or holds a policy only", checkpoint.string(), kManifest);
    const JsonReader manifest = JsonReader::parse(read_file(path, kManifestBytes), path.string());
    if (manifest.text("format", "") != "deepsearch checkpoint") bad_input("{}: not a manifest", path.string());
    if (const int64_t version = manifest.integer("version"); version != kVersion) {
      bad_input("{}: of format version {}, this program reads version {}", path.string(), version, kVersion);
    }
    const nlohmann::json* files = manifest.find("files");
    if (files == nullptr || !files->is_object()) bad_input("{}: no list of files", path.string());
    if (fmt::format("step-{:06}", manifest.integer("step")) != checkpoint.filename().string()) {
      bad_input("{}: of step {}, which is not the folder's", path.string(), manifest.integer("step"));
    }
    for (const auto& [name, entry] : files->items()) {
      check_file(checkpoint, name, JsonReader(entry, path.string() + ": \"" + name + "\""));
    }
    for (const char* needed : {"config.json", "resume/run.json"}) {
      if (!files->contains(needed)) bad_input("{}: lists no {}", path.string(), needed);
    }
  });
}

std::vector<int64_t> checkpoint_steps(const fs::path& run) {
  return guarded([&] { return steps_named(run, R"(step-(\d{6,}))"); });
}

std::optional<int64_t> newest_checkpoint(const fs::path& run,
                                         const std::function<void(const std::string& why)>& skipped) {
  const std::vector<int64_t> steps = checkpoint_steps(run);
  for (size_t i = steps.size(); i-- > 0;) {
    try {
      check_checkpoint(checkpoint_path(run, steps[i]));
      return steps[i];
    } catch (const Error& error) {
      skipped(error.what());
    }
  }
  return {};
}

void clean_checkpoints(const fs::path& run) {
  guarded([&] {
    for (const int64_t step : steps_named(run, R"(step-(\d{6,})\.tmp)")) {
      const fs::path replaced = replaced_path(run, step);
      if (fs::exists(checkpoint_path(run, step))) {
        fs::remove_all(replaced);
      } else {
        fs::rename(replaced, checkpoint_path(run, step));
      }
    }
    for (const int64_t step : steps_named(run, R"(tmp-step-(\d{6,}))")) fs::remove_all(temporary_path(run, step));
  });
}

std::vector<int64_t> surplus_checkpoints(const std::vector<int64_t>& steps, const KeepCheckpoints& keep) {
  const auto multiple = [](int64_t step, int64_t of) { return of > 0 && step % of == 0; };
  const auto newest = static_cast<size_t>(std::max<int64_t>(keep.newest, 1));
  std::vector<int64_t> surplus;
  for (size_t i = 0; i + newest < steps.size(); ++i) {
    const bool wanted = multiple(steps[i], keep.every) || (keep.newest == 0 && multiple(steps[i], keep.made_every));
    if (!wanted) surplus.push_back(steps[i]);
  }
  return surplus;
}

void remove_checkpoint(const fs::path& run, int64_t step) {
  guarded([&] {
    // Without its manifest it is none, however far its removal comes.
    fs::remove(checkpoint_path(run, step) / kManifest);
    fs::remove_all(checkpoint_path(run, step));
  });
}

}  // namespace deepsearch
