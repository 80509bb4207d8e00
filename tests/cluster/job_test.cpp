#include "cluster/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cluster/slurm.h"
#include "core/error.h"
#include "core/subprocess.h"

namespace deepsearch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const char* const kBody = "#!/usr/bin/env bash\n#SBATCH --nodes=9\n# --- what follows is the job\necho \"$@\"\n";

template <class Work>
std::string complaint_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    return error.what();
  }
  return "no complaint";
}

TEST(JobScript, HoldsTheSitesLinesAboveTheBody) {
  Site site;
  site.account = "astro";
  site.nodes.partition = "gpu";
  site.nodes.gpus_per_node = 4;
  site.modules = {"gcc/12", "openmpi"};
  site.environment = {"A=b c"};
  Job job;
  job.nodes = 3;
  job.array = "0-5%2";
  job.dependency = "afterany:7";
  job.arguments = {"c.toml", "it's here"};
  const std::string text = job_script(site, job, 90, kBody);
  EXPECT_THAT(text, StartsWith("#!/usr/bin/env bash\n#SBATCH --job-name=deepsearch\n#SBATCH --nodes=3\n"));
  for (const char* line : {"#SBATCH --account=astro\n", "#SBATCH --partition=gpu\n", "#SBATCH --gpus-per-node=4\n",
                           "#SBATCH --signal=B:USR1@90\n", "#SBATCH --requeue\n", "#SBATCH --array=0-5%2\n",
                           "#SBATCH --dependency=afterany:7\n", "export A='b c'\n", "module load gcc/12 openmpi",
                           "set -- c.toml 'it'\\''s here'\necho \"$@\"\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("--nodes=9")));
  EXPECT_THAT(text, Not(HasSubstr("hetjob")));
}

TEST(JobScript, GivesAHeterogeneousJobTwoGroups) {
  Site site;
  site.learners.partition = "gpu";
  site.learners.tasks_per_node = 2;
  Job job;
  job.nodes = 3;
  job.learner_nodes = 1;
  const std::string text = job_header(site, job, 60);
  const std::string second = text.substr(text.find("hetjob"));
  EXPECT_THAT(second, HasSubstr("#SBATCH --nodes=1\n#SBATCH --ntasks-per-node=2\n"));
  EXPECT_THAT(second, HasSubstr("--partition=gpu"));
  EXPECT_EQ(job.ranks(site), 14);
}

TEST(JobScript, DoesNotWaitForEverForWhatFailed) {
  Job job;
  job.dependency = "afterok:7";
  EXPECT_THAT(job_header({}, job, 60), HasSubstr("--dependency=afterok:7\n#SBATCH --kill-on-invalid-dep=yes\n"));
  job.dependency = "afterany:7";
  EXPECT_THAT(job_header({}, job, 60), Not(HasSubstr("invalid-dep")));
}

TEST(JobScript, WantsABodyWithItsMark) {
  EXPECT_THAT(complaint_of([] { job_script({}, {}, 60, "echo\n"); }), HasSubstr("what follows"));
}

TEST(RankMap, NamesEveryNodesRoles) {
  Site site;
  Job job;
  job.nodes = 2;
  EXPECT_THAT(rank_map_of(site, job, 2, false),
              ElementsAre("node 1         ranks 0-3        search ranks 0-3",
                          "node 2         ranks 4-7        search ranks 4-5, learners 0-1 (0 coordinates)"));
  EXPECT_THAT(rank_map_of(site, job, 1, true).front(), HasSubstr("search and learn"));
  job.nodes = 40;
  EXPECT_THAT(rank_map_of(site, job, 4, false),
              ElementsAre("nodes 1-39     ranks 0-155      search ranks 0-155",
                          "node 40        ranks 156-159    learners 0-3 (0 coordinates)"));
}

TEST(Grace, IsMeasuredWhereThereIsACheckpoint) {
  Site site;
  EXPECT_EQ(grace_of(site, 3600, 0), 120);
  EXPECT_EQ(grace_of(site, 3600, 10), 120);
  EXPECT_EQ(grace_of(site, 3600, 200.2), 431);
  EXPECT_THAT(complaint_of([&] { grace_of(site, 200, 0); }), HasSubstr("less than half"));
}

TEST(SiteProfile, IsCheckedAndUnknownKeysAreRefused) {
  EXPECT_EQ(read_site("", {"nodes.partition=gpu"}).nodes.partition, "gpu");
  EXPECT_THAT(complaint_of([] { read_site("", {"nodes.partitoin=\"gpu\""}); }), HasSubstr("partition"));
  EXPECT_THAT(complaint_of([] { read_site("", {"site.environment=[\"A b=c\"]"}); }), HasSubstr("NAME=value"));
  EXPECT_THAT(complaint_of([] { read_site("", {"site.sbatch=[\"exclusive\"]"}); }), HasSubstr("--exclusive"));
  EXPECT_THAT(complaint_of([] { read_site("", {"site.signal=KILL"}); }), HasSubstr("signal"));
}

TEST(SiteProfile, OfTheRepositoryIsTheDefaults) {
  const Site file = read_site(DEEPSEARCH_SOURCE_DIR "/slurm/site.toml", {});
  const Site defaults;
  EXPECT_EQ(job_header(file, {}, 60), job_header(defaults, {}, 60));
  EXPECT_EQ(file.node_local, defaults.node_local);
}

TEST(NodeLocal, IsKnownByNameAndByFileSystem) {
  EXPECT_THAT(why_node_local("/tmp/a/b", {"/tmp"}), HasSubstr("/tmp is a node's own"));
  EXPECT_EQ(why_node_local("/tmpfolder/b", {"/tmp"}), "");
  EXPECT_EQ(why_node_local(DEEPSEARCH_SOURCE_DIR, {"/nowhere"}), "");
}

TEST(Subprocess, ReturnsCodeAndOutput) {
  const Finished finished = run_program({"bash", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(finished.code, 3);
  EXPECT_THAT(finished.output, testing::AllOf(HasSubstr("out"), HasSubstr("err")));
  EXPECT_EQ(run_program({"no-such-program-here"}).code, 127);
  EXPECT_EQ(run_program({"bash", "-c", "kill -9 $$"}).code, 137);
  EXPECT_EQ(shell_words({"a", "b c", "", "d'e"}), "a 'b c' '' 'd'\\''e'");
  const Finished echoed = run_program({"bash", "-c", "printf %s " + shell_quoted("$x \"'\\ *")});
  EXPECT_EQ(echoed.output, "$x \"'\\ *");
}

}  // namespace
}  // namespace deepsearch
