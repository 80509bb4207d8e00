// Parts: exact round trips, reading while writing, kills, full disks, wrong files.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <hdf5.h>

#include "core/files.h"
#include "core/timer.h"
#include "random_tree.h"
#include "store/part_writer.h"
#include "store/readers.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;
using namespace store_test;  // NOLINT: the tests' own helpers

using PartTest = StoreTest;

std::vector<TreeRecord> random_trees(uint64_t seed, size_t count, uint64_t max_nodes) {
  RandomStream rng(seed, RngPurpose::kTests, 1);
  std::vector<TreeRecord> trees;
  for (size_t i = 0; i < count; ++i) trees.push_back(random_tree(rng, max_nodes));
  return trees;
}

void expect_same_trees(const PartReader& reader, const std::vector<TreeRecord>& trees, size_t count) {
  ASSERT_EQ(reader.n_trees(), static_cast<int64_t>(count));
  for (size_t i = 0; i < count; ++i)
    ASSERT_EQ(dump(reader.tree(static_cast<int64_t>(i))), dump(trees[i])) << "tree " << i;
}

TEST_F(PartTest, RandomTreesComeBackExactly) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const auto path = folder_ / fmt::format("p{}.h5", seed);
    // Some seeds pass the chunk size of /nodes, some flush after every tree.
    const std::vector<TreeRecord> trees = random_trees(seed, 1 + seed * 3, seed % 3 == 0 ? 900 : 40);
    {
      PartWriter writer(path, some_info(), 1, {.flush_seconds = seed % 2 == 0 ? 0.0 : 1000.0});
      for (const TreeRecord& tree : trees) writer.append(tree);
      EXPECT_EQ(writer.n_trees(), static_cast<int64_t>(trees.size()));
      writer.close();
      writer.close();
    }
    const PartReader reader(path);
    EXPECT_EQ(reader.state(), "closed");
    expect_same_trees(reader, trees, trees.size());
  }
}

TEST_F(PartTest, ManySmallTreesCrossChunks) {
  const std::vector<TreeRecord> trees = random_trees(77, 1300, 12);
  const auto path = folder_ / "p.h5";
  {
    PartWriter writer(path, some_info(), 0, {.flush_seconds = 1000.0});
    for (size_t i = 0; i < trees.size(); ++i) {
      writer.append(trees[i]);
      if (i % 500 == 250) writer.flush();
    }
  }  // the destructor closes
  const PartReader reader(path);
  expect_same_trees(reader, trees, trees.size());
}

TEST_F(PartTest, RowsAndHeaderTellWhatTheTreesAre) {
  std::vector<TreeRecord> trees = random_trees(5, 4, 20);
  trees[2].problem = trees[0].problem;  // stored once
  const auto path = folder_ / "p.h5";
  {
    PartWriter writer(path, some_info(), 2);
    for (const TreeRecord& tree : trees) writer.append(tree);
  }
  std::optional<PartReader> opened(path);
  const PartReader& reader = *opened;
  const std::vector<PartReader::TreeRow> rows = reader.rows();
  ASSERT_EQ(rows.size(), trees.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const TreeRecord& tree = trees[i];
    EXPECT_EQ(rows[i].row, static_cast<int64_t>(i));
    EXPECT_EQ(rows[i].key, tree.key);
    EXPECT_EQ(rows[i].kind, tree.kind);
    EXPECT_EQ(rows[i].problem_id, tree.problem.id);
    EXPECT_EQ(rows[i].n_nodes, static_cast<int64_t>(tree.nodes.size()));
    EXPECT_EQ(rows[i].n_recorded, static_cast<int64_t>(tree.recorded.size()));
    int64_t n_correct = 0;
    for (const RecordedLeaf& leaf : tree.recorded) n_correct += leaf.outcome == Outcome::kCorrect ? 1 : 0;
    EXPECT_EQ(rows[i].n_correct, n_correct);
    EXPECT_EQ(rows[i].stop_reason, tree.stop_reason);
    EXPECT_EQ(rows[i].tokens_generated, tree.tokens_generated);
  }
  const RunInfo wanted = some_info();
  EXPECT_EQ(reader.rank(), 2);
  EXPECT_EQ(reader.info().config_text, wanted.config_text);
  EXPECT_EQ(reader.info().seed, wanted.seed);
  EXPECT_EQ(reader.info().revision, wanted.revision);
  EXPECT_EQ(reader.info().rank_layout, wanted.rank_layout);
  EXPECT_EQ(reader.info().command_line, wanted.command_line);
  EXPECT_EQ(reader.info().job_id, "");

  opened.reset();
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);  // a closed part opens the ordinary way
  ASSERT_GE(file, 0);
  const hid_t keys = H5Dopen2(file, "/problems/key", H5P_DEFAULT);
  const hid_t space = H5Dget_space(keys);
  EXPECT_EQ(H5Sget_simple_extent_npoints(space), 3);
  H5Sclose(space);
  H5Dclose(keys);
  H5Fclose(file);
}

TEST_F(PartTest, ALongConfigurationFits) {
  RunInfo info = some_info();
  info.config_text = std::string(300000, 'x') + "end";
  { PartWriter(folder_ / "p.h5", info, 0).close(); }
  const PartReader reader(folder_ / "p.h5");
  EXPECT_EQ(reader.info().config_text, info.config_text);
  EXPECT_EQ(reader.n_trees(), 0);
}

TEST_F(PartTest, AReaderSeesFlushedTreesOfALiveWriter) {
  const std::vector<TreeRecord> trees = random_trees(8, 30, 400);
  const auto path = folder_ / "live.h5";
  PartWriter writer(path, some_info(), 0, {.flush_seconds = 1000.0});
  for (size_t i = 0; i < 10; ++i) writer.append(trees[i]);
  writer.flush();
  for (size_t i = 10; i < 20; ++i) writer.append(trees[i]);
  const auto read_in_child = [&](size_t count) {
    return in_child([&] {
      const PartReader reader(path);
      if (reader.state() != "running or killed") return 2;
      if (reader.n_trees() != static_cast<int64_t>(count)) return 3;
      for (size_t i = 0; i < count; ++i) {
        if (dump(reader.tree(static_cast<int64_t>(i))) != dump(trees[i])) return 4;
      }
      return 0;
    });
  };
  EXPECT_EQ(read_in_child(10), 0);
  writer.flush();
  EXPECT_EQ(read_in_child(20), 0);
  for (size_t i = 20; i < 30; ++i) writer.append(trees[i]);
  writer.close();
  expect_same_trees(PartReader(path), trees, 30);
}

// A writer flushes without pause while a reader opens the file over and over: every tree that is seen must be whole.
TEST_F(PartTest, EveryTreeSeenDuringWritingIsWhole) {
  const std::vector<TreeRecord> trees = random_trees(21, 50, 120);
  const auto path = folder_ / "race.h5";
  const auto stop = folder_ / "stop";
  const pid_t writer_process = fork();
  if (writer_process == 0) {
    alarm(120);
    int status = 1;
    try {
      PartWriter writer(path, some_info(), 0, {.flush_seconds = 0.0});
      for (size_t i = 0; !std::filesystem::exists(stop); ++i) writer.append(trees[i % trees.size()]);
      writer.close();
      status = 0;
    } catch (const std::exception&) {
    }
    _exit(status);
  }
  int64_t seen = 0;
  const Stopwatch watch;
  for (int look = 0; look < 60 && watch.seconds() < 20;) {
    if (!std::filesystem::exists(path)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    ++look;
    const PartReader reader(path);
    ASSERT_GE(reader.n_trees(), seen);
    for (int64_t row = std::max<int64_t>(seen, reader.n_trees() - 20); row < reader.n_trees(); ++row) {
      ASSERT_EQ(dump(reader.tree(row)), dump(trees[static_cast<size_t>(row) % trees.size()])) << "row " << row;
    }
    seen = reader.n_trees();
  }
  write_file_atomically(stop, "stop");
  int status = 0;
  ASSERT_EQ(waitpid(writer_process, &status, 0), writer_process);
  EXPECT_EQ(status, 0);
  EXPECT_GT(seen, 0);
  EXPECT_EQ(PartReader(path).state(), "closed");
}

TEST_F(PartTest, AKilledPartKeepsWhatWasFlushed) {
  const std::vector<TreeRecord> trees = random_trees(9, 40, 200);
  const auto path = folder_ / "killed.h5";
  const int status = in_child([&] {
    PartWriter writer(path, some_info(), 0, {.flush_seconds = 1000.0});
    for (size_t i = 0; i < 25; ++i) writer.append(trees[i]);
    writer.flush();
    for (size_t i = 25; i < trees.size(); ++i) writer.append(trees[i]);
    kill(getpid(), SIGKILL);
    return 0;
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  const PartReader reader(path);
  EXPECT_EQ(reader.state(), "running or killed");
  expect_same_trees(reader, trees, 25);
}

TEST_F(PartTest, AKillAtAnyMomentLeavesWholeTrees) {
  const std::vector<TreeRecord> trees = random_trees(10, 50, 60);
  RandomStream rng(3, RngPurpose::kTests, 3);
  int64_t seen = 0;
  for (int trial = 0; trial < 12; ++trial) {
    const auto path = folder_ / fmt::format("killed{}.h5", trial);
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      PartWriter writer(path, some_info(), 0, {.flush_seconds = 0.0});
      for (size_t i = 0;; ++i) writer.append(trees[i % trees.size()]);
    }
    while (!std::filesystem::exists(path)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(rng.below(60000)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const PartReader reader(path);
    for (int64_t row = 0; row < reader.n_trees(); ++row) {
      ASSERT_EQ(dump(reader.tree(row)), dump(trees[static_cast<size_t>(row) % trees.size()])) << "row " << row;
    }
    seen += reader.n_trees();
  }
  EXPECT_GT(seen, 0);
}

// A limit on the file's size fails like a full disk does: a write comes back short.
TEST_F(PartTest, AFullDiskIsNamedAndWhatWasFlushedStays) {
  const std::vector<TreeRecord> trees = random_trees(11, 60, 900);
  const auto path = folder_ / "full.h5";
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    PartWriter writer(path, some_info(), 0, {.flush_seconds = 1000.0});
    for (size_t i = 0; i < 5; ++i) writer.append(trees[i]);
    writer.flush();
    const auto bytes = std::filesystem::file_size(path) + 50000;
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      for (const TreeRecord& tree : trees) {
        writer.append(tree);
        writer.flush();
      }
    } catch (const Error& error) {
      const std::string text = error.what();
      if (text.find("disk full: ") != 0 || text.find("full.h5, /") == std::string::npos) return 3;
      if (error.exit_code() != kExitBadInput) return 4;
      try {
        writer.append(trees[0]);
      } catch (const Error& again) {
        return std::string(again.what()) == text ? 0 : 5;
      }
      return 6;
    }
    return 2;
  });
  EXPECT_EQ(status, 0) << "exit status " << WEXITSTATUS(status) << ", signal " << WTERMSIG(status);
  const PartReader reader(path);
  ASSERT_GE(reader.n_trees(), 5);
  for (int64_t row = 0; row < 5; ++row) EXPECT_EQ(dump(reader.tree(row)), dump(trees[static_cast<size_t>(row)]));
}

TEST_F(PartTest, ContradictoryRecordsAreRefusedAndLeaveTheWriterUsable) {
  RandomStream rng(1, RngPurpose::kTests, 9);
  TreeRecord good = random_tree(rng, 20);
  while (good.nodes.size() < 3 || good.tokens.empty()) good = random_tree(rng, 20);
  const auto path = folder_ / "p.h5";
  PartWriter writer(path, some_info(), 0);
  const auto refused = [&](const std::function<void(TreeRecord&)>& spoil, const std::string& why) {
    TreeRecord bad = good;
    spoil(bad);
    const Error error = error_of([&] { writer.append(bad); });
    EXPECT_THAT(error.what(), HasSubstr(why));
    EXPECT_EQ(error.exit_code(), kExitFailure);
  };
  refused([](TreeRecord& tree) { tree.nodes.clear(); }, "no nodes");
  refused([](TreeRecord& tree) { tree.logprobs.pop_back(); }, "log-probabilities");
  refused([](TreeRecord& tree) { tree.nodes[2].parent = 2; }, "node 2 has the parent 2");
  refused([](TreeRecord& tree) { tree.nodes[0].parent = 0; }, "node 0 has the parent 0");
  refused([](TreeRecord& tree) { tree.nodes[1].n_tokens = 1000000; }, "node 1 has tokens");
  refused([](TreeRecord& tree) { tree.nodes[1].first_token = -1; }, "node 1 has tokens");
  refused([](TreeRecord& tree) { tree.recorded.push_back({1000, 1, 0, Outcome::kCorrect, false}); }, "leaf 1000");
  refused([](TreeRecord& tree) { tree.events.push_back({0, EventKind::kExpand, 1000, 0}); }, "event's node 1000");
  writer.append(good);
  writer.close();
  expect_same_trees(PartReader(path), {good}, 1);
  EXPECT_THAT(error_of([&] { writer.append(good); }).what(), HasSubstr("append after close"));
}

TEST_F(PartTest, AnExistingPartIsNotOverwritten) {
  const auto path = folder_ / "p.h5";
  { PartWriter(path, some_info(), 0).close(); }
  const Error error = error_of([&] { PartWriter(path, some_info(), 0); });
  EXPECT_THAT(error.what(), HasSubstr("p.h5: exists already"));
  EXPECT_EQ(error.exit_code(), kExitBadInput);
}

TEST_F(PartTest, AFolderThatIsMissingIsNamed) {
  const Error error = error_of([&] { PartWriter(folder_ / "none" / "p.h5", some_info(), 0); });
  EXPECT_THAT(error.what(), HasSubstr("none/p.h5"));
  EXPECT_THAT(error.what(), HasSubstr("No such file or directory"));
}

TEST_F(PartTest, WrongFilesAreRefusedByName) {
  const auto expect_refusal = [&](const std::string& name, const std::string& why) {
    const Error error = error_of([&] { const PartReader reader(folder_ / name); });
    EXPECT_THAT(error.what(), HasSubstr(name));
    EXPECT_THAT(error.what(), HasSubstr(why));
    EXPECT_EQ(error.exit_code(), kExitBadInput);
  };
  expect_refusal("missing.h5", "no such file");
  write_file_atomically(folder_ / "text.h5", "this is not HDF5\n");
  expect_refusal("text.h5", "could not open");
  write_file_atomically(folder_ / "empty.h5", "");
  expect_refusal("empty.h5", "could not open");

  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const auto make = [&](const char* name, const char* schema, int64_t major) {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    const hid_t file = H5Fcreate((folder_ / name).c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, std::string(schema).size());
    const hid_t scalar = H5Screate(H5S_SCALAR);
    const hid_t one = H5Acreate2(file, "schema", text, scalar, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(one, text, schema);
    const hsize_t two = 2;
    const hid_t pair = H5Screate_simple(1, &two, nullptr);
    const hid_t other = H5Acreate2(file, "schema_version", H5T_STD_I64LE, pair, H5P_DEFAULT, H5P_DEFAULT);
    const int64_t numbers[2] = {major, 7};
    H5Awrite(other, H5T_NATIVE_INT64, numbers);
    for (const hid_t attribute : {one, other}) H5Aclose(attribute);
    for (const hid_t space : {scalar, pair}) H5Sclose(space);
    H5Tclose(text);
    H5Pclose(access);
    H5Fclose(file);
  };
  make("foreign.h5", "something-else", 1);
  expect_refusal("foreign.h5", "schema is 'something-else', expected 'deepsearch-part'");
  make("newer.h5", "deepsearch-part", 2);
  expect_refusal("newer.h5", "schema version 2.7");
  make("bare.h5", "deepsearch-part", 1);
  expect_refusal("bare.h5", "could not open");
}

// Columns of different lengths, as a crash of the machine may leave them: trees count as far as everything they refer
// to is there. In a part that was closed the same is damage.
TEST_F(PartTest, ColumnsOfUnequalLengthsAreCutOnlyAfterAKill) {
  const std::vector<TreeRecord> trees = random_trees(12, 6, 50);
  int64_t n_nodes = 0;
  for (size_t i = 0; i < 4; ++i) n_nodes += static_cast<int64_t>(trees[i].nodes.size());
  for (const bool killed : {true, false}) {
    const auto path = folder_ / (killed ? "killed.h5" : "closed.h5");
    {
      PartWriter writer(path, some_info(), 0);
      for (const TreeRecord& tree : trees) writer.append(tree);
    }
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    const hid_t depth = H5Dopen2(file, "/nodes/depth", H5P_DEFAULT);
    const auto shorter = static_cast<hsize_t>(n_nodes + 1);  // the fifth tree is cut
    ASSERT_GE(H5Dset_extent(depth, &shorter), 0);
    H5Dclose(depth);
    if (killed) {
      const hid_t state = H5Aopen(file, "state", H5P_DEFAULT);
      const hid_t type = H5Aget_type(state);
      std::string text = "running or killed";
      text.resize(H5Tget_size(type), '\0');
      H5Awrite(state, type, text.data());
      H5Tclose(type);
      H5Aclose(state);
    }
    H5Fclose(file);
    if (killed) {
      expect_same_trees(PartReader(path), trees, 4);
    } else {
      const Error error = error_of([&] { const PartReader reader(path); });
      EXPECT_THAT(error.what(), HasSubstr("closed.h5, /trees: row 4: first_node"));
      EXPECT_EQ(error.exit_code(), kExitBadInput);
    }
  }
}

// Another HDF5, another language: the installed h5py reads a live part as docs/hdf5.md says.
TEST_F(PartTest, H5pyReadsALivePart) {
  const char* python = std::getenv("DEEPSEARCH_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "set DEEPSEARCH_PYTHON to a Python that has h5py";
  const std::vector<TreeRecord> trees = random_trees(13, 12, 100);
  const auto path = folder_ / "live.h5";
  PartWriter writer(path, some_info(), 0, {.flush_seconds = 1000.0});
  for (const TreeRecord& tree : trees) writer.append(tree);
  writer.flush();
  size_t n_nodes = 0;
  size_t n_tokens = 0;
  for (const TreeRecord& tree : trees) {
    n_nodes += tree.nodes.size();
    n_tokens += tree.tokens.size();
  }
  const std::string code = fmt::format(
      "import h5py, sys\n"
      "with h5py.File(sys.argv[1], 'r', swmr=True) as part:\n"
      "    n = len(part['trees/n_events'])\n"
      "    assert n == {}, n\n"
      "    for table, rows in (('trees', n), ('nodes', {}), ('tokens', {})):\n"
      "        for name, column in part[table].items():\n"
      "            assert len(column) == rows, (table, name, len(column))\n"
      "            assert 'units' in column.attrs and column.attrs['description'], name\n"
      "    assert part['nodes/terminal'][:].dtype == bool\n"
      "    assert h5py.check_enum_dtype(part['nodes/outcome'].dtype)['wrong'] == 1\n"
      "    assert part['problems/id'].asstr()[0] is not None\n"
      "    assert part.attrs['schema'] == b'deepsearch-part' or part.attrs['schema'] == 'deepsearch-part'\n",
      trees.size(), n_nodes, n_tokens);
  write_file_atomically(folder_ / "look.py", code);
  const std::string command = fmt::format("'{}' '{}' '{}'", python, (folder_ / "look.py").string(), path.string());
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace deepsearch
