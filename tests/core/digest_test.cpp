#include "core/digest.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/temp_folder.h"

namespace deepsearch {
namespace {

// From xxHash's own documentation and tests, seed 0.
TEST(Digest, IsXxh64) {
  EXPECT_EQ(digest_of(""), 0xEF46DB3751D8E999ULL);
  EXPECT_EQ(digest_of("a"), 0xD24EC4F1A98C6E5BULL);
  EXPECT_EQ(digest_of("abc"), 0x44BC2CF5AD770999ULL);
  EXPECT_EQ(digest_of("Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1ULL);
}

TEST(Digest, DoesNotDependOnTheCutIntoPieces) {
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes.push_back(static_cast<char>(i * 37));
  const uint64_t whole = digest_of(bytes);
  for (const size_t piece : {1, 3, 7, 31, 32, 33, 500}) {
    Digest digest;
    for (size_t at = 0; at < bytes.size(); at += piece) digest.update(std::string_view(bytes).substr(at, piece));
    EXPECT_EQ(digest.value(), whole) << piece;
  }
}

TEST(Digest, OfAFileIsOfItsBytes) {
  const TempFolder folder;
  const std::string bytes(3'000'001, 'x');
  write_file_atomically(folder.path() / "file", bytes);
  const FileDigest digest = digest_file(folder.path() / "file");
  EXPECT_EQ(digest.bytes, bytes.size());
  EXPECT_EQ(digest.xxh64, digest_of(bytes));
  EXPECT_THROW(digest_file(folder.path() / "absent"), Error);
}

}  // namespace
}  // namespace deepsearch
