// The state of one extraction (extraction.h is the interface): the text, and the candidates found so far.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "verify/characters.h"
#include "verify/extraction.h"
#include "verify/scan.h"

namespace deepsearch::math {

inline constexpr size_t kMaxMaths = 20'000;  // characters between two marks of maths

class Extractor {
 public:
  Extractor(std::string_view text, const ExtractionOptions& options, Scan& scan, std::vector<Candidate>& out)
      : s_(text), options_(options), scan_(scan), out_(out) {}

  void run();

 private:
  // Boxes, and what "answer is …" announces: extraction.cpp.
  void add(std::string text, int rank, size_t end, bool plain = false);
  bool boxes(bool& open);
  bool value_at(size_t k, size_t limit, int rank);
  bool bare_command_at(size_t k, int rank);
  bool numbers_at(size_t k, size_t limit, int rank);
  int hoped(int rank, size_t end) const;
  void phrases();
  void phrase(size_t at);

  // Maths and numbers wherever they stand: extraction_anywhere.cpp.
  void anywhere();
  void last_maths();
  bool last_closing(size_t before, size_t& from, size_t& close, size_t& end) const;
  void add_maths(std::string_view content, size_t from, size_t end);
  void bare_fraction();
  void last_number();
  size_t run_start(size_t last) const;
  size_t without_leading_signs(size_t from, size_t last) const;

  // What stands at a place: extraction_values.cpp.
  bool maths_at(size_t k, std::string_view& content, size_t& end) const;
  void join_maths(std::string& text, size_t& end) const;
  static bool number_char(char c);
  static bool mixed_part(std::string_view s);
  size_t number_length(size_t k) const;
  size_t exponent_length(size_t end, size_t start) const;
  size_t gap_length(size_t end, size_t start, bool any) const;
  size_t list_length(size_t k) const;
  bool free_on_the_left(size_t k) const;
  bool unit_after(size_t k) const;
  bool thousands(size_t k) const;
  bool operator_at(size_t k) const;
  bool operator_before(size_t k) const;

  // One of a few fixed strings: extraction_choices.cpp.
  bool choice_at(size_t k, std::string& found) const;
  void add_choice(const std::string& found, int rank, size_t at);
  bool announced_choice();
  void choice();

  std::string_view s_;
  const ExtractionOptions& options_;
  Scan& scan_;
  std::vector<Candidate>& out_;
};

}  // namespace deepsearch::math
