// Why a run was asked to stop, in words, and the exit code that says whether it can go on.
#pragma once

#include <string>

namespace deepsearch {

// The run was stopped and can go on: EX_TEMPFAIL of sysexits.h, for scripts that requeue a job.
constexpr int kExitResumable = 75;

std::string stop_text();  // "time limit", "SIGTERM", …
int stop_code();          // kExitResumable; 130 after SIGINT

}  // namespace deepsearch
