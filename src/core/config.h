// Strict TOML: every key is known, typed, in range; files inherit by `base = "other.toml"`; `--set a.b=c` overrides.
// Errors name file, line and key, and the nearest known key (exit code 2).
#pragma once

#include <string>
#include <vector>

#include "core/config_visitor.h"

namespace deepsearch {

// Fills the fields listed by `root` from `path` (its base files first; "" means defaults only), then from `overrides`
// ("search.width=4"; the right side is a TOML value, a bare word is taken as a string).
// Errors: unreadable file, TOML syntax, unknown or repeated key, wrong type, out of range, a base that includes itself.
// `option` is what messages call an override by.
void load_config(const std::string& path, const std::vector<std::string>& overrides, const Describe& root,
                 const std::string& option = "--set");

// The same from text; `name` stands for the file in messages. Relative bases are resolved against the current folder.
void load_config_text(const std::string& text, const std::string& name, const std::vector<std::string>& overrides,
                      const Describe& root);

// The resolved values as TOML that load_config reads back to the same values.
std::string dump_config(const Describe& root);

// The reference for people: every table and key with meaning, unit, range or choices, and default.
std::string explain_config(const Describe& root);

}  // namespace deepsearch
