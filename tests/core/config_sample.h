// A parameter tree with every kind of field, for the config tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_visitor.h"

namespace deepsearch {

enum class SampleOrder { kFrontier, kDeepest };

struct SampleParams {
  int64_t seed = 1;
  std::string name = "run";
  bool verbose = false;
  int64_t width = 8;
  double rate = 0.1;
  SampleOrder order = SampleOrder::kFrontier;
  std::vector<int64_t> sizes{1, 2};
  std::vector<double> weights{0.5};
  std::vector<std::string> tasks{"a"};
  int64_t passes = 4;
  double anything = 0;

  bool operator==(const SampleParams&) const = default;

  void describe(ConfigVisitor& v) {
    v.field({.key = "seed", .unit = "", .meaning = "keys every random number"}, seed);
    v.table({.key = "search", .meaning = "How a tree grows."}, [this](ConfigVisitor& t) {
      t.field({.key = "width", .unit = "children", .meaning = "children per node", .min = 1, .max = 1024}, width);
      t.field({.key = "rate", .unit = "", .meaning = "a rate", .min = 0, .max = 1}, rate);
      t.choice({.key = "order", .unit = "", .meaning = "what is expanded next"}, order,
               {{"frontier", SampleOrder::kFrontier}, {"deepest", SampleOrder::kDeepest}});
      t.field({.key = "sizes", .unit = "tokens", .meaning = "sizes", .min = 0}, sizes);
      t.table({.key = "filter", .meaning = "Which problems stay."}, [this](ConfigVisitor& u) {
        u.field({.key = "passes", .unit = "tries", .meaning = "tries per problem", .min = 1}, passes);
      });
    });
    v.table({.key = "run", .meaning = ""}, [this](ConfigVisitor& t) {
      t.field({.key = "name", .unit = "", .meaning = "the run's name"}, name);
      t.field({.key = "verbose", .unit = "", .meaning = "say more"}, verbose);
      t.field({.key = "weights", .unit = "", .meaning = "weights", .min = -1, .max = 1}, weights);
      t.field({.key = "tasks", .unit = "", .meaning = "tasks", .choices = {"a", "b", "c"}}, tasks);
      t.field({.key = "anything", .unit = "", .meaning = "any number"}, anything);
    });
  }

  Describe describer() {
    return [this](ConfigVisitor& v) { describe(v); };
  }
};

}  // namespace deepsearch
