// The safetensors file format (github.com/huggingface/safetensors): an 8-byte little-endian header length, a JSON
// header
//
//   {"__metadata__": {"format": "pt"}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
//
// padded with blanks to a multiple of 8 bytes, then the tensors' bytes without gaps. No LibTorch. A file is untrusted:
// every size and offset is checked against the file's size before anything is allocated for it, and each error is
// bad_input that names the file and, where there is one, the tensor. One thread per object; const methods from any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "model/weights.h"

namespace deepsearch {

struct SafetensorsEntry {
  std::string dtype;           // "F32", "BF16", …: as in the file
  std::vector<int64_t> shape;  // sizes ≥ 0; their product times the dtype's width is end − begin
  uint64_t begin = 0;          // bytes, from the end of the header
  uint64_t end = 0;
};

// A file mapped read-only for the object's lifetime. The file must not be truncated meanwhile (writers here replace
// files by rename, which leaves a mapping whole).
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // The tensor as it lies in the file. `data` is aligned to the type's width only where the file aligns it (its writers
  // need not). bad_input for an absent name, a shape other than `shape`, or a dtype other than F32, F16 and BF16.
  TensorView view(const std::string& name, const std::vector<int64_t>& shape) const;

  // The same as fp32. The pages it was read from are given back on the way, so that a large tensor is not in memory
  // twice.
  HostTensor read(const std::string& name, const std::vector<int64_t>& shape) const;

  // Gives back the memory of these bytes of a view's data; reading them again reads the file again.
  void drop_pages(const std::byte* begin, uint64_t bytes) const;

 private:
  void parse_header();

  std::filesystem::path path_;
  const std::byte* bytes_ = nullptr;  // the whole file
  uint64_t size_ = 0;
  uint64_t data_begin_ = 0;  // first byte after the header
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// A file of `type` values with these tensors, whole or not at all (temporary name, fsync, rename). Values are streamed.
class SafetensorsWriter {
 public:
  // Writes the header. failure() when a name repeats.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorShape> tensors, DType type);
  ~SafetensorsWriter();  // without publish(): nothing is left
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // The next tensor, in the constructor's order; converted when its type is another. failure() for another shape.
  void append(const TensorView& tensor);
  // After the last one.
  void publish();

 private:
  std::vector<TensorShape> tensors_;
  DType type_;
  size_t next_ = 0;
  std::unique_ptr<AtomicFile> file_;
};

std::string shape_text(std::span<const int64_t> shape);  // "[2, 3]"

}  // namespace deepsearch
