#include "store/handles.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace deepsearch {
namespace {

struct StackText {
  std::string innermost;
  int system_error = 0;
};

// Walks from the innermost frame outwards. The first frame that has a text says best what went wrong; the one with an
// errno, which file drivers write as "errno = 28", says whether the disk is full.
herr_t read_frame(unsigned /*n*/, const H5E_error2_t* frame, void* data) {
  auto& found = *static_cast<StackText*>(data);
  if (frame->desc == nullptr) return 0;
  const std::string text = frame->desc;
  if (found.innermost.empty()) found.innermost = text;
  const size_t position = text.find("errno = ");
  if (found.system_error == 0 && position != std::string::npos) {
    found.system_error = std::atoi(text.c_str() + position + 8);
  }
  return 0;
}

}  // namespace

void silence_hdf5() {
  // What a failed writer left open stays as it is (store/writer_guard.h): at exit the library would close it, which
  // marks a file as whole that is not. Only the first HDF5 call of a process can ask for that; later ones are no-ops.
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

void throw_hdf5_error(const char* operation, const Hdf5Place& place) {
  StackText found;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, read_frame, &found);
  H5Eclear2(H5E_DEFAULT);
  const std::string why = found.innermost.empty() ? "no reason given by HDF5" : found.innermost;
  if (found.system_error == ENOSPC || found.system_error == EDQUOT || found.system_error == EFBIG) {
    // HDF5's own text of it has several lines; errno says it all.
    bad_input("disk full: {}: could not {}: {}; free some space, what was flushed before is readable", place.text(),
              operation, std::strerror(found.system_error));
  }
  if (place.reading) bad_input("{}: HDF5 could not {}: {}", place.text(), operation, why);
  failure("{}: HDF5 could not {}: {}", place.text(), operation, why);
}

}  // namespace deepsearch
