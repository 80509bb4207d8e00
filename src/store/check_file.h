// The checks of one file, in the process that calls them (store/check.h puts them into a child). Internal to store/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "store/check.h"
#include "store/column_table.h"
#include "store/handles.h"

namespace deepsearch {

// Lines of findings; after the first few of a file they are only counted.
class Findings {
 public:
  // `only_first`: it is thrown, as an Error, and nothing more is looked at.
  explicit Findings(bool only_first = false) : only_first_(only_first) {}
  template <class... Values>
  void add(const Hdf5Place& place, fmt::format_string<Values...> text, Values&&... values) {
    add_line(place.text() + ": " + fmt::format(text, std::forward<Values>(values)...));
  }
  void add_line(std::string line);
  bool empty() const { return lines_.empty(); }
  std::vector<std::string> take();  // with a last line that counts what was left out

 private:
  std::vector<std::string> lines_;
  int64_t left_out_ = 0;
  bool only_first_;
};

// What the checks found out about a file on the way: what they compare between files, and what a repair keeps.
struct FileFacts {
  bool is_run = false;
  std::string state;  // the attribute
  uint64_t seed = 0;
  int64_t rank = -1;  // parts
  int64_t ranks = 0;  // run.h5: rows of /ranks
  std::vector<uint64_t> problem_keys;
  std::vector<std::string> links;       // run.h5: names in /parts
  std::map<std::string, int64_t> rows;  // whole rows by table path
  int64_t left_rows = 0;                // rows of all columns beyond them
};

struct InnerReport {
  FileReport report;
  FileFacts facts;
  bool crashed = false;
};

InnerReport check_file_here(const std::filesystem::path& path, bool only_first = false);

// Of check_file_here: contents of a part or of run.h5 whose header has been checked. `cut`: rows that are not whole are
// what a kill, or a writer at work, leaves.
void check_part_tables(hid_t file, const Hdf5Place& place, uint64_t file_bytes, bool cut, Findings& findings,
                       InnerReport& inner);
void check_run_tables(hid_t file, const Hdf5Place& place, uint64_t file_bytes, bool cut, Findings& findings,
                      InnerReport& inner);
// Opens a table; what is wrong with it becomes findings and the answer is empty. Unequal columns are a finding unless
// `cut`.
std::unique_ptr<TableReader> open_table(hid_t file, const Hdf5Place& place, const TableSchema& schema,
                                        uint64_t file_bytes, bool cut, Findings& findings);
// /problems with its texts and tokens; keys and whole rows go to `facts`.
void check_problems(hid_t file, const Hdf5Place& place, const std::vector<TableSchema>& tables, uint64_t file_bytes,
                    bool cut, Findings& findings, FileFacts& facts);

// Writes `path` anew with the rows of `facts` to `target` (which must not exist), marked as ended.
void rewrite_file(const std::filesystem::path& path, const std::filesystem::path& target, const FileFacts& facts);

}  // namespace deepsearch
