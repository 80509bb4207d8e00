#include "core/files.h"

#include <cerrno>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/temp_folder.h"

namespace deepsearch {
namespace {

using testing::HasSubstr;

template <class F>
Error error_of(F&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error("none", 0);
}

TEST(WriteFile, WritesReplacesAndLeavesNothingElse) {
  const TempFolder folder;
  const auto path = folder / "a.txt";
  write_file_atomically(path, "first");
  const std::string bytes("\0second\n\xff", 9);
  write_file_atomically(path, bytes);
  EXPECT_EQ(read_file(path, 100), bytes);
  write_file_atomically(path, "");
  EXPECT_EQ(read_file(path, 0), "");
  EXPECT_EQ(folder.count(), 1u);
}

TEST(WriteFile, LongestNameStillFits) {
  const TempFolder folder;
  const auto path = folder / std::string(255, 'x');
  write_file_atomically(path, "text");
  EXPECT_EQ(read_file(path, 10), "text");
}

TEST(WriteFile, FailureRemovesTheTemporaryFile) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "taken");
  folder.write("taken/inside", "");
  const Error error = error_of([&] { write_file_atomically(folder / "taken", "text"); });
  EXPECT_EQ(error.exit_code(), kExitBadInput);
  EXPECT_THAT(error.what(), HasSubstr((folder / "taken").string()));
  EXPECT_EQ(folder.count(), 1u);
}

TEST(WriteFile, DevicesAndPipesAreWrittenToNotReplaced) {
  const TempFolder folder;
  const auto pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  write_file_atomically(pipe, "through");
  std::string got(16, ' ');
  got.resize(static_cast<size_t>(std::max<ssize_t>(0, read(reader, got.data(), got.size()))));
  close(reader);
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  // A device is reached by a link of ours, so that a mistake would not cost the machine its /dev/null.
  const auto link = folder / "null";
  std::filesystem::create_symlink("/dev/null", link);
  write_file_atomically(link, "nowhere");
  EXPECT_TRUE(std::filesystem::is_symlink(link));
}

TEST(WriteFile, MissingFolderAndMissingNameAreBadInput) {
  const TempFolder folder;
  const Error missing = error_of([&] { write_file_atomically(folder / "none/a.txt", "text"); });
  EXPECT_EQ(missing.exit_code(), kExitBadInput);
  EXPECT_THAT(missing.what(), HasSubstr("none/a.txt: No such file or directory"));
  EXPECT_EQ(error_of([&] { write_file_atomically(folder / "", "text"); }).exit_code(), kExitBadInput);
}

TEST(WriteFile, ReadersSeeOldOrNewWhole) {
  const TempFolder folder;
  const auto path = folder / "a.txt";
  const std::string old_text(100000, 'o');
  const std::string new_text(100000, 'n');
  write_file_atomically(path, old_text);
  std::thread writer([&] {
    for (int i = 0; i < 20; ++i) write_file_atomically(path, i % 2 == 0 ? new_text : old_text);
  });
  for (int i = 0; i < 200; ++i) {
    const std::string seen = read_file(path, 200000);
    EXPECT_TRUE(seen == old_text || seen == new_text);
  }
  writer.join();
}

TEST(FileErrors, FullDiskIsBadInputAndSaysSo) {
  for (const int code : {ENOSPC, EDQUOT}) {
    const Error error = error_of([&] { fail_with_errno("write", "run.h5", code); });
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_THAT(error.what(), testing::StartsWith("disk full: cannot write run.h5: "));
  }
  EXPECT_EQ(error_of([] { fail_with_errno("write", "run.h5", EIO); }).exit_code(), kExitFailure);
}

// In a child with a mount namespace of its own, on a file system of 64 KiB.
TEST(WriteFile, RealFullDisk) {
  const TempFolder folder;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(77);
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(77);
    if (mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) _exit(77);
    int result = 1;
    try {
      write_file_atomically(folder / "big", std::string(1 << 20, 'x'));
    } catch (const Error& error) {
      const bool clear = std::string_view(error.what()).starts_with("disk full: cannot write ");
      result = clear && error.exit_code() == kExitBadInput && folder.count() == 0 ? 0 : 2;
    }
    _exit(result);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no right to mount here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ReadFile, LargerThanAllowedIsRefusedBeforeReading) {
  const TempFolder folder;
  const auto path = folder / "sparse";
  const int descriptor = open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  ASSERT_GE(descriptor, 0);
  ASSERT_EQ(ftruncate(descriptor, off_t{1} << 42), 0);  // 4 TiB of nothing
  close(descriptor);
  const Error error = error_of([&] { read_file(path, 1000); });
  EXPECT_EQ(error.exit_code(), kExitBadInput);
  EXPECT_THAT(error.what(), HasSubstr("4398046511104 bytes; at most 1000"));
}

TEST(ReadFile, ExactlyAsLargeAsAllowed) {
  const TempFolder folder;
  folder.write("a", std::string(1000, 'a'));
  EXPECT_EQ(read_file(folder / "a", 1000).size(), 1000u);
  EXPECT_THROW(read_file(folder / "a", 999), Error);
}

// Sizes that lie: a device that claims 0 bytes and never ends, and a file of /proc that claims 0 and has some.
TEST(ReadFile, TrustsNoClaimedSize) {
  EXPECT_THAT(error_of([] { read_file("/dev/zero", 100000); }).what(), HasSubstr("more than the 100000 bytes"));
  EXPECT_GT(read_file("/proc/self/status", 1 << 20).size(), 100u);
  EXPECT_EQ(read_file("/dev/null", 10), "");
}

TEST(ReadFile, ReadsAPipe) {
  const TempFolder folder;
  const auto path = folder / "pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const std::string text(300000, 'p');
  std::thread writer([&] {
    const int descriptor = open(path.c_str(), O_WRONLY);
    std::string_view left = text;
    while (!left.empty()) {
      const ssize_t written = write(descriptor, left.data(), left.size());
      if (written <= 0) break;
      left.remove_prefix(static_cast<size_t>(written));
    }
    close(descriptor);
  });
  EXPECT_EQ(read_file(path, 1 << 20), text);
  writer.join();
}

TEST(ReadFile, MissingFileAndFolderAreBadInput) {
  const TempFolder folder;
  const Error missing = error_of([&] { read_file(folder / "none", 10); });
  EXPECT_EQ(missing.exit_code(), kExitBadInput);
  EXPECT_THAT(missing.what(), HasSubstr("none: No such file or directory"));
  EXPECT_THAT(error_of([&] { read_file(folder.path(), 10); }).what(), HasSubstr("Is a directory"));
}

TEST(CreateFolders, MakesParentsAndAcceptsExisting) {
  const TempFolder folder;
  create_folders(folder / "a/b/c");
  create_folders(folder / "a/b/c");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
}

TEST(CreateFolders, AFileInTheWayIsBadInput) {
  const TempFolder folder;
  folder.write("a", "");
  EXPECT_EQ(error_of([&] { create_folders(folder / "a"); }).exit_code(), kExitBadInput);
  EXPECT_EQ(error_of([&] { create_folders(folder / "a/b"); }).exit_code(), kExitBadInput);
}

TEST(CheckFolder, SaysWhatMakingItWouldSayAndMakesNothing) {
  const TempFolder folder;
  folder.write("file", "");
  check_folder_can_be_written(folder.path());
  check_folder_can_be_written(folder / "new/one");
  for (const char* name : {"file", "file/below"}) {
    const Error error = error_of([&] { check_folder_can_be_written(folder / name); });
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_THAT(error.what(), HasSubstr("cannot create folder " + (folder / name).string()));
  }
  EXPECT_EQ(folder.count(), 1u);
}

TEST(SyncFolder, MissingFolderIsAnError) {
  const TempFolder folder;
  sync_folder(folder.path());
  EXPECT_THROW(sync_folder(folder / "none"), Error);
}

}  // namespace
}  // namespace deepsearch
