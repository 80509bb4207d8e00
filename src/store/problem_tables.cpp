#include "store/problem_tables.h"

namespace deepsearch {

ProblemWriter::ProblemWriter(hid_t file, const Hdf5Place& place, const std::vector<TableSchema>& tables)
    : text_(file, place, table_schema(tables, "/problem_text")),
      tokens_(file, place, table_schema(tables, "/problem_tokens")),
      problems_(file, place, table_schema(tables, "/problems")) {}

void ProblemWriter::fill(const Problem& problem, ProblemLine& line) {
  line.key = problem.key;
  line.id = fixed_text<64>(problem.id);
  line.source = fixed_text<32>(problem.source);
  line.prompt = fixed_text<256>(problem.prompt);
  line.answer = fixed_text<64>(problem.answer);
  line.first_byte = text_.lines();
  line.id_bytes = static_cast<int64_t>(problem.id.size());
  line.source_bytes = static_cast<int64_t>(problem.source.size());
  line.prompt_bytes = static_cast<int64_t>(problem.prompt.size());
  line.answer_bytes = static_cast<int64_t>(problem.answer.size());
  line.first_token = tokens_.lines();
  line.n_tokens = static_cast<int64_t>(problem.prompt_tokens.size());

  const std::string text = problem.id + problem.source + problem.prompt + problem.answer;
  text_.append_column(0, text.data(), text.size());
  text_.commit_columns(static_cast<int64_t>(text.size()));
  tokens_.append_column(0, problem.prompt_tokens.data(), problem.prompt_tokens.size() * sizeof(Token));
  tokens_.commit_columns(line.n_tokens);
}

void ProblemWriter::write() {
  text_.write();
  tokens_.write();
  problems_.write();
}

void ProblemWriter::publish() {
  text_.publish();
  tokens_.publish();
  problems_.publish();
}

void ProblemWriter::close() {
  text_.close();
  tokens_.close();
  problems_.close();
}

// Rows are counted before what they refer to is, so that a live file's rows are whole.
ProblemReader::ProblemReader(hid_t file, const Hdf5Place& place, const std::vector<TableSchema>& tables,
                             uint64_t file_bytes)
    : problems_(file, place, table_schema(tables, "/problems"), file_bytes),
      text_(file, place, table_schema(tables, "/problem_text"), file_bytes),
      tokens_(file, place, table_schema(tables, "/problem_tokens"), file_bytes) {}

Problem ProblemReader::problem_of(const ProblemLine& line) const {
  Problem problem;
  problem.key = line.key;
  int64_t first = line.first_byte;
  const auto take = [&](std::string& text, int64_t bytes) {
    text_.check_range(first, bytes);
    text.resize(static_cast<size_t>(bytes));
    text_.read_column(0, first, bytes, text.data());
    first += bytes;
  };
  take(problem.id, line.id_bytes);
  take(problem.source, line.source_bytes);
  take(problem.prompt, line.prompt_bytes);
  take(problem.answer, line.answer_bytes);
  tokens_.check_range(line.first_token, line.n_tokens);
  problem.prompt_tokens.resize(static_cast<size_t>(line.n_tokens));
  tokens_.read_column(0, line.first_token, line.n_tokens, problem.prompt_tokens.data());
  return problem;
}

}  // namespace deepsearch
