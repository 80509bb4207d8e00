// SIGINT, SIGTERM and SIGUSR1 set a flag that the loops look at. A further SIGINT or SIGTERM a second or more after the
// first ends the process at once with 128 + signal; an earlier one is ignored, because launchers often deliver the same
// signal twice. SIGUSR1, a batch system's early warning, is not counted in this.
// Nothing but lock-free flags is touched inside the handler. Any thread.
#pragma once

namespace deepsearch {

// Also lets SIGPIPE and SIGXFSZ (a file over the process's size limit) be error codes of write() rather than the end of
// the process.
void install_stop_signals();
bool stop_requested();
int stop_signal();                     // the first one; 0 when none came
void request_stop(int signal_number);  // the same flag, set by a peer's message or a test; never ends the process
void clear_stop_request();             // forgets it: tests and tools that run several loops in one process

}  // namespace deepsearch
