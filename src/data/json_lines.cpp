#include "data/json_lines.h"

#include <cerrno>
#include <cstdio>
#include <iostream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace deepsearch {
namespace {

constexpr size_t kWriteBytes = size_t{1} << 20;

std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

const nlohmann::json& value_of(const nlohmann::json& object, const char* key, const std::string& place) {
  const auto found = object.find(key);
  if (found == object.end()) bad_input("{}: key \"{}\" is missing", place, key);
  return *found;
}

}  // namespace

JsonLinesReader::JsonLinesReader(const std::filesystem::path& path)
    : name_(path == "-" ? "standard input" : path.string()), in_(&std::cin) {
  if (path == "-") return;
  if (std::filesystem::is_directory(path)) bad_input("{}: a folder, not a file of JSON lines", name_);
  file_.open(path, std::ios::binary);
  if (!file_) fail_with_errno("read", path, errno);
  in_ = &file_;
}

bool JsonLinesReader::read_line() {
  text_.clear();
  for (int byte = in_->get(); byte != std::istream::traits_type::eof(); byte = in_->get()) {
    if (byte == '\n') return true;
    if (text_.size() >= kMaxJsonLineBytes) {
      bad_input("{}:{}: a line of more than {} bytes", name_, line_ + 1, kMaxJsonLineBytes);
    }
    text_.push_back(static_cast<char>(byte));
  }
  if (in_->bad()) failure("{}:{}: cannot be read", name_, line_ + 1);
  return !text_.empty();
}

bool JsonLinesReader::next(nlohmann::json& object) {
  while (read_line()) {
    ++line_;
    if (text_.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      object = nlohmann::json::parse(text_);
    } catch (const nlohmann::json::parse_error& error) {
      bad_input("{}: byte {}: not JSON; a line is one JSON object in UTF-8", place(), error.byte);
    } catch (const nlohmann::json::exception&) {
      bad_input("{}: a number that is out of range", place());
    }
    if (!object.is_object()) bad_input("{}: {}; a line is one JSON object in braces", place(), shown(object));
    return true;
  }
  return false;
}

std::string JsonLinesReader::place() const {
  return fmt::format("{}:{}", name_, line_);
}

JsonLinesWriter::JsonLinesWriter(const std::filesystem::path& path)
    : file_(path == "-" ? nullptr : std::make_unique<AtomicFile>(path)) {}

void JsonLinesWriter::write(const nlohmann::ordered_json& object) {
  pending_ += object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  pending_ += '\n';
  if (file_ == nullptr) {
    std::fwrite(pending_.data(), 1, pending_.size(), stdout);
    pending_.clear();
  } else if (pending_.size() > kWriteBytes) {
    file_->write(pending_);
    pending_.clear();
  }
}

void JsonLinesWriter::finish() {
  if (file_ == nullptr) {
    if (std::fflush(stdout) != 0) fail_with_errno("write", "standard output", errno);
    return;
  }
  file_->write(pending_);
  file_->publish();
}

std::string json_text(const nlohmann::json& object, const char* key, const std::string& place) {
  const nlohmann::json& value = value_of(object, key, place);
  if (!value.is_string()) bad_input("{}: \"{}\" must be a text, found {}", place, key, shown(value));
  return value.get<std::string>();
}

std::vector<Token> json_tokens(const nlohmann::json& object, const char* key, const std::string& place) {
  const nlohmann::json& value = value_of(object, key, place);
  if (!value.is_array()) bad_input("{}: \"{}\" must be a list of token ids, found {}", place, key, shown(value));
  std::vector<Token> tokens;
  tokens.reserve(value.size());
  for (const nlohmann::json& item : value) {
    if (!item.is_number_integer() || item < 0 || item > INT32_MAX) {
      bad_input("{}: \"{}\"[{}] must be a token id from 0, found {}", place, key, tokens.size(), shown(item));
    }
    tokens.push_back(item.get<Token>());
  }
  return tokens;
}

}  // namespace deepsearch
