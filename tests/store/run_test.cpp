// run.h5: metrics, problems, resume, the end of a run; and the written description of the files.
#include <csignal>
#include <cstdlib>
#include <set>

#include <gmock/gmock.h>
#include <hdf5.h>

#include "core/files.h"
#include "random_tree.h"
#include "store/part_writer.h"
#include "store/readers.h"
#include "store/run_folder.h"
#include "store/run_writer.h"
#include "store/schema.h"

namespace deepsearch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace store_test;  // NOLINT: the tests' own helpers

using RunTest = StoreTest;

const std::map<std::string, std::vector<std::string>> kTables = {{"learner", {"step", "loss", "lr"}},
                                                                 {"eval", {"step", "pass_at_1"}}};

TEST_F(RunTest, RowsProblemsAndHeaderComeBack) {
  RandomStream rng(4, RngPurpose::kTests, 4);
  std::vector<Problem> problems;
  for (int i = 0; i < 700; ++i) problems.push_back(random_problem(rng));
  {
    RunWriter writer(folder_, some_info(), kTables);
    for (int step = 0; step < 1000; ++step) {
      writer.append("learner", {{"lr", 1e-6}, {"step", step}, {"loss", step * 0.5}});
    }
    writer.append("eval", {{"step", 7}, {"pass_at_1", 0.25}});
    for (const Problem& problem : problems) writer.add_problem(problem, "train", 0.125);
    writer.add_problem(problems[3], "test");  // known already
    writer.finish("finished", 12.5, {});
    EXPECT_GT(writer.seconds_spent(), 0);
  }
  const RunReader reader(folder_);
  EXPECT_EQ(reader.state(), "finished");
  EXPECT_EQ(reader.stop_reason(), "finished");
  EXPECT_EQ(reader.attempt(), 1);
  EXPECT_THAT(reader.tables(), ElementsAre("learner", "search", "eval", "rounds"));
  EXPECT_THAT(reader.columns("learner"), ElementsAre("step", "loss", "lr"));
  EXPECT_EQ(reader.columns("search"), metric_columns("search"));
  const std::vector<double> loss = reader.column("learner", "loss");
  ASSERT_EQ(loss.size(), 1000u);
  for (size_t i = 0; i < loss.size(); ++i) ASSERT_EQ(loss[i], static_cast<double>(i) * 0.5);
  EXPECT_THAT(reader.column("eval", "pass_at_1"), ElementsAre(0.25));
  const RunInfo wanted = some_info();
  EXPECT_EQ(reader.info().hosts, wanted.hosts);
  EXPECT_EQ(reader.info().roles, wanted.roles);
  EXPECT_EQ(reader.info().seed, wanted.seed);
  EXPECT_EQ(reader.info().config_text, wanted.config_text);
  const std::vector<RunReader::ProblemRow> rows = reader.problems();
  ASSERT_EQ(rows.size(), problems.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    Dump found;
    Dump expected;
    found(rows[i].problem);
    expected(problems[i]);
    ASSERT_EQ(found.text(), expected.text());
    EXPECT_EQ(rows[i].split, "train");
    EXPECT_EQ(rows[i].base_pass_rate, 0.125);
  }
}

TEST_F(RunTest, WrongColumnsAreProgrammingErrors) {
  EXPECT_EQ(error_of([&] {
              RunWriter(folder_, some_info(), {{"learner", {"step", "no_such_metric"}}});
            }).exit_code(),
            kExitFailure);
  EXPECT_THAT(error_of([&] { RunWriter(folder_, some_info(), {{"other", {"step"}}}); }).what(), HasSubstr("'other'"));
  EXPECT_THAT(error_of([&] {
                RunWriter(folder_, some_info(), {{"eval", {"step", "step"}}});
              }).what(),
              HasSubstr("twice"));
  const auto append_error = [&](const std::string& table, const MetricsRow& row) {
    std::filesystem::remove(folder_ / "run.h5");
    RunWriter writer(folder_, some_info(), kTables);
    return std::string(error_of([&] { writer.append(table, row); }).what());
  };
  EXPECT_THAT(append_error("eval", {{"step", 1}}), HasSubstr("lacks 'pass_at_1'"));
  EXPECT_THAT(append_error("eval", {{"step", 1}, {"loss", 1}}), HasSubstr("no column 'loss'"));
  EXPECT_THAT(append_error("eval", {{"step", 1}, {"step", 1}}), HasSubstr("given twice"));
  EXPECT_THAT(append_error("nothing", {}), HasSubstr("no metrics table 'nothing'"));
}

TEST_F(RunTest, UnknownNamesAreBadInputWhenReading) {
  { RunWriter writer(folder_, some_info(), kTables); }
  const RunReader reader(folder_);
  EXPECT_EQ(error_of([&] { reader.column("learner", "grad_norm"); }).exit_code(), kExitBadInput);
  EXPECT_EQ(error_of([&] { reader.column("none", "step"); }).exit_code(), kExitBadInput);
  EXPECT_EQ(error_of([&] { const RunReader other(folder_ / "parts"); }).exit_code(), kExitBadInput);
}

TEST_F(RunTest, AKilledRunKeepsFlushedRowsAndSaysSo) {
  const int status = in_child([&] {
    RunWriter writer(folder_, some_info(), kTables);
    for (int step = 0; step < 300; ++step) writer.append("learner", {{"step", step}, {"loss", 1}, {"lr", 1}});
    writer.flush();
    writer.append("learner", {{"step", 300}, {"loss", 1}, {"lr", 1}});
    kill(getpid(), SIGKILL);
    return 0;
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  const RunReader reader(folder_);
  EXPECT_EQ(reader.state(), "running or killed");
  EXPECT_EQ(reader.column("learner", "step").size(), 300u);
}

TEST_F(RunTest, AReaderSeesFlushedRowsOfALiveWriter) {
  RunWriter writer(folder_, some_info(), kTables);
  for (int step = 0; step < 5; ++step) {
    writer.append("learner", {{"step", step}, {"loss", 1}, {"lr", 1}});
    writer.flush();
    const int status = in_child([&] {
      const RunReader reader(folder_);
      return reader.column("learner", "step").size() == static_cast<size_t>(step) + 1 ? 0 : 1;
    });
    EXPECT_EQ(status, 0);
  }
}

TEST_F(RunTest, AResumeCarriesRowsUpToItsStepOver) {
  RandomStream rng(4, RngPurpose::kTests, 4);
  const Problem problem = random_problem(rng);
  const Problem another = random_problem(rng);
  {
    RunWriter writer(folder_, some_info(), kTables);
    for (int step = 0; step < 10; ++step) writer.append("learner", {{"step", step}, {"loss", step}, {"lr", 1}});
    for (const int step : {4, 6, 9}) writer.append("eval", {{"step", step}, {"pass_at_1", 0.5}});
    writer.add_problem(problem, "train", 0.5);
    writer.finish("interrupted: SIGTERM", 1, {});
  }
  {
    const RunReader reader(folder_);
    EXPECT_EQ(reader.state(), "interrupted");
    EXPECT_EQ(reader.stop_reason(), "interrupted: SIGTERM");
  }
  EXPECT_THAT(error_of([&] { RunWriter(folder_, some_info(), kTables); }).what(), HasSubstr("exists already"));
  {
    RunWriter writer(folder_, some_info(), {{"learner", {"step", "loss", "grad_norm"}}},
                     KeptRows{.step = 6, .evaluated = 4});
    writer.append("learner", {{"step", 7}, {"loss", 70}, {"grad_norm", 2}});
    writer.add_problem(problem, "train");
    writer.add_problem(another, "test");
    writer.finish("finished", 1, {});
  }
  const RunReader reader(folder_);
  EXPECT_EQ(reader.attempt(), 2);
  EXPECT_THAT(reader.column("learner", "step"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(reader.column("learner", "loss").back(), 70);
  EXPECT_TRUE(std::isnan(reader.column("learner", "grad_norm").front()));
  EXPECT_THAT(reader.column("eval", "step"), ElementsAre(4));
  const auto problems = reader.problems();
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[0].base_pass_rate, 0.5);
  EXPECT_EQ(problems[1].split, "test");
}

TEST_F(RunTest, AFinishedRunLinksItsParts) {
  RandomStream rng(4, RngPurpose::kTests, 4);
  RunWriter writer(folder_, some_info(), kTables);
  for (int search = 0; search < 3; ++search) {
    PartWriter part(part_path(folder_, search, 1, 1), some_info(), search);
    part.append(random_tree(rng, 30));
  }
  EXPECT_EQ(RunReader(folder_).parts().size(), 3u);  // found before there are links
  writer.finish("finished", 1, {"s0000-a01-0001.h5", "s0001-a01-0001.h5"});
  EXPECT_EQ(RunReader(folder_).parts().size(), 3u);
  EXPECT_THAT(error_of([&] { writer.finish("finished", 1, {}); }).what(), HasSubstr("finished twice"));

  // The links hold after the folder has moved.
  const auto moved = folder_ / "moved";
  std::filesystem::create_directories(moved);
  std::filesystem::rename(folder_ / "run.h5", moved / "run.h5");
  std::filesystem::rename(folder_ / "parts", moved / "parts");
  const hid_t file = H5Fopen((moved / "run.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  for (int search = 0; search < 3; ++search) {
    const hid_t column =
        H5Dopen2(file, fmt::format("/parts/s{:04}-a01-0001.h5/trees/step", search).c_str(), H5P_DEFAULT);
    EXPECT_GE(column, 0);
    H5Dclose(column);
  }
  H5Fclose(file);
}

TEST_F(RunTest, EndsThatAreNoneAreRefused) {
  RunWriter writer(folder_, some_info(), kTables);
  EXPECT_THAT(error_of([&] { writer.finish("done", 1, {}); }).what(), HasSubstr("not 'done'"));
}

TEST_F(RunTest, AFullDiskIsNamed) {
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    RunWriter writer(folder_, some_info(), kTables);
    const auto bytes = std::filesystem::file_size(folder_ / "run.h5") + 4000;
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      for (int step = 0; step < 20000; ++step) writer.append("learner", {{"step", step}, {"loss", 1}, {"lr", 1}});
      writer.flush();
    } catch (const Error& error) {
      return std::string(error.what()).find("disk full: ") == 0 && error.exit_code() == kExitBadInput ? 0 : 3;
    }
    return 2;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(RunReader(folder_).state(), "running or killed");
}

TEST(Schema, EveryColumnIsDescribed) {
  for (const auto* tables : {&part_tables(), &run_tables()}) {
    for (const TableSchema& table : *tables) {
      EXPECT_FALSE(table.description.empty()) << table.path;
      EXPECT_GE(table.chunk_rows, 64) << table.path;
      std::set<std::string> names;
      for (const ColumnSchema& column : table.columns) {
        EXPECT_FALSE(column.description.empty()) << table.path << " " << column.name;
        EXPECT_TRUE(names.insert(column.name).second) << table.path << " " << column.name;
      }
    }
  }
  EXPECT_EQ(part_tables().front().columns.back().name, "n_events");  // the column that is published last
}

TEST(Schema, MarkdownIsTheDocument) {
  const std::filesystem::path path = std::filesystem::path(DEEPSEARCH_SOURCE_DIR) / "docs" / "hdf5.md";
  if (std::getenv("DEEPSEARCH_UPDATE_DOCS") != nullptr) write_file_atomically(path, schema_markdown());
  EXPECT_EQ(read_file(path, 1 << 20), schema_markdown()) << "renew it with DEEPSEARCH_UPDATE_DOCS=1";
}

}  // namespace
}  // namespace deepsearch
