// SIGINT and SIGTERM set a flag that the loops look at; a second SIGINT within a second or more ends the process at
// once. Nothing but the flag is touched inside the handler.
#pragma once

namespace deepsearch {

void install_stop_signals();
bool stop_requested();
int stop_signal();      // 0 when none came
void request_stop(int signal_number);  // the same flag, set by a peer's message or a test

}  // namespace deepsearch
