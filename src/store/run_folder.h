// A run's folder: who may write into it, and the names in it.
//
//   runs/NAME/  config.toml   run.h5   parts/s0003-a01-0001.h5 …   checkpoints/step-000050/ …   log/rank-0003.log
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace deepsearch {

enum class FolderState { kFresh, kResumed };

// Makes `folder` with parts/, log/ and checkpoints/, for one process of the job to call before the others use it.
//   nothing there, or an empty folder: made; fresh, also with `resume` (a requeued job may have died before it began)
//   a run is there: bad input that names --force and --resume, unless one of them is given
//   resume: nothing is touched; kResumed
//   force:  what a run writes is deleted (config.toml, run.h5, parts/*.h5, checkpoints/step-*, log/rank-*.log), nothing
//           else; kFresh
//   other files but no run: bad input, whatever the flags
// `model` is what the job starts from ("": nothing on disk). Where `force` would delete it: bad input.
FolderState prepare_run_folder(const std::filesystem::path& folder, bool force, bool resume,
                               const std::filesystem::path& model = {});

// folder/parts/s0003-a01-0002.h5: search rank 3, first attempt, second part. Attempts and sequences count from 1.
std::filesystem::path part_path(const std::filesystem::path& folder, int search_index, int attempt, int sequence);

// The parts there are, by name; files still under a temporary name are not.
std::vector<std::filesystem::path> list_parts(const std::filesystem::path& folder);

// One more than the highest attempt among the parts: 1 in a fresh folder. One process asks and tells the others.
int next_attempt(const std::filesystem::path& folder);

}  // namespace deepsearch
