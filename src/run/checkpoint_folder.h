// The folders of checkpoints: which there are, which are whole, and how one comes to be.
//
//   RUN/checkpoints/step-000012/        the policy in the Hugging Face layout
//                       resume/         what a run needs beside it to go on (docs/resume.md)
//                       manifest.json   size and checksum of every file, written last
//                   tmp-step-000013/    being written
//                   step-000012.tmp/    being replaced
//
// A folder without a manifest that holds for all its files is no checkpoint. One process writes manifests and renames.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace deepsearch {

std::filesystem::path checkpoint_path(const std::filesystem::path& run, int64_t step);

// An empty tmp-step-NNNNNN/resume to write into; what an earlier attempt left there is removed. Returns
// tmp-step-NNNNNN.
std::filesystem::path begin_checkpoint(const std::filesystem::path& run, int64_t step);

// Writes the manifest of what lies in the temporary folder, and gives it its name; a checkpoint of that step that is
// there already is replaced. A kill at any moment leaves the old one, the new one or both.
void publish_checkpoint(const std::filesystem::path& run, int64_t step);

// bad_input that names the file and what is wrong: no manifest, one of another version, a file that is absent, of
// another size or with another checksum.
void check_checkpoint(const std::filesystem::path& checkpoint);

// Steps of the folders that have a checkpoint's name, ascending, whether whole or not.
std::vector<int64_t> checkpoint_steps(const std::filesystem::path& run);

// The newest whole checkpoint; `skipped` is told of each newer one why it is not taken.
std::optional<int64_t> newest_checkpoint(const std::filesystem::path& run,
                                         const std::function<void(const std::string& why)>& skipped);

// What a kill while a checkpoint was written left behind: a folder that was about to be replaced gets its name back
// when its successor is not there, all other temporary ones are removed.
void clean_checkpoints(const std::filesystem::path& run);

struct KeepCheckpoints {
  int64_t newest = 0;      // how many; 0: all of [learn].checkpoint_every, and of others (by time, on a stop) the last
  int64_t every = 0;       // multiples of this many steps always; 0: none
  int64_t made_every = 0;  // [learn].checkpoint_every
};
// Which of `steps` (ascending) may go. Never the last. Pure.
std::vector<int64_t> surplus_checkpoints(const std::vector<int64_t>& steps, const KeepCheckpoints& keep);
void remove_checkpoint(const std::filesystem::path& run, int64_t step);

}  // namespace deepsearch
