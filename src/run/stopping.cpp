#include "run/stopping.h"

#include <csignal>

#include "core/error.h"
#include "core/signals.h"

namespace deepsearch {

std::string stop_text() {
  switch (stop_signal()) {
    case SIGALRM:
      return "time limit";
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "[run].stop_after";
    default:
      return fmt::format("signal {}", stop_signal());
  }
}

int stop_code() {
  return stop_signal() == SIGINT ? kExitInterrupted : kExitResumable;
}

}  // namespace deepsearch
