// The safetensors file format (github.com/huggingface/safetensors): an 8-byte little-endian header length, a JSON
// header
//
//   {"__metadata__": {"format": "pt"}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
//
// padded with blanks to a multiple of 8 bytes, then the tensors' bytes without gaps. No LibTorch. A file is untrusted:
// every size and offset is checked against the file's size before anything is allocated for it, and each error is
// bad_input that names the file and, where there is one, the tensor. One thread per object; const methods from any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

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

  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // A tensor as fp32, row-major; F32 is copied, BF16 and F16 are widened exactly. bad_input for an absent name, a shape
  // other than `shape`, or another dtype.
  HostTensor read(const std::string& name, const std::vector<int64_t>& shape) const;

 private:
  void parse_header();

  std::filesystem::path path_;
  const unsigned char* bytes_ = nullptr;  // the whole file
  uint64_t size_ = 0;
  uint64_t data_begin_ = 0;  // first byte after the header
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// Writes F32 tensors in the given order, whole or not at all (temporary name, fsync, rename). The values are streamed,
// so no second copy of a large model is made. failure() when a tensor's values do not fill its shape or a name repeats.
void write_safetensors(const std::filesystem::path& path, const std::vector<HostTensor>& tensors);

std::string shape_text(const std::vector<int64_t>& shape);  // "[2, 3]"

}  // namespace deepsearch
