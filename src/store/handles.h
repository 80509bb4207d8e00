// HDF5 identifiers that close themselves, and checked calls. Internal to store/: the only header that names hdf5.h.
//
// HDF5 prints its error stack to stderr by default; here it is silenced, and its innermost message becomes part of our
// Error. One thread of a process uses HDF5 (Debian's build is not thread-safe).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <hdf5.h>

namespace deepsearch {

// Where a call happens, for messages: "runs/a/run.h5, /metrics/learner/loss".
struct Hdf5Place {
  std::string file;
  std::string object;    // dataset, group or attribute; "" for the file itself
  bool reading = false;  // a failing read is bad input (exit code 2), a failing write is not, unless the disk is full

  Hdf5Place at(std::string name) const { return Hdf5Place{file, std::move(name), reading}; }
  std::string text() const { return object.empty() ? file : file + ", " + object; }
};

// Throws Error with place, operation and HDF5's innermost message. No space, a quota or a file size limit: "disk full:
// …", exit code 2.
[[noreturn]] void throw_hdf5_error(const char* operation, const Hdf5Place& place);

// Call before any other HDF5 function: no printing by the library, no closing of files at exit.
void silence_hdf5();

inline void check_hdf5(herr_t status, const char* operation, const Hdf5Place& place) {
  if (status < 0) throw_hdf5_error(operation, place);
}

// Owns one identifier. Move-only; closing never throws.
class Hdf5Handle {
 public:
  using Closer = herr_t (*)(hid_t);

  Hdf5Handle() = default;
  // Takes a call's result over, checked.
  Hdf5Handle(hid_t id, Closer closer, const char* operation, const Hdf5Place& place) : id_(id), closer_(closer) {
    if (id < 0) throw_hdf5_error(operation, place);
  }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), closer_(std::exchange(other.closer_, nullptr)) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      reset();
      id_ = std::exchange(other.id_, H5I_INVALID_HID);
      closer_ = std::exchange(other.closer_, nullptr);
    }
    return *this;
  }
  ~Hdf5Handle() { reset(); }

  hid_t id() const { return id_; }
  // Closes now; HDF5's answer (negative: failed, for instance because data could not be written).
  herr_t reset() noexcept {
    if (id_ < 0 || closer_ == nullptr) return 0;
    return closer_(std::exchange(id_, H5I_INVALID_HID));
  }
  // Closes now, and a failure is an Error: for writers, whose last data may leave at closing.
  void close(const Hdf5Place& place) {
    if (reset() < 0) throw_hdf5_error("close", place);
  }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Closer closer_ = nullptr;
};

}  // namespace deepsearch
