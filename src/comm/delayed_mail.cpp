#include "comm/delayed_mail.h"

#include <algorithm>
#include <utility>

#include "core/rng.h"

namespace deepsearch {

void DelayedMail::hold(Envelope&& envelope, double now) {
  const double part = static_cast<double>(mix_all(seed_, count_++) >> 11) * 0x1p-53;
  double& latest = latest_[envelope.from];
  latest = std::max(latest, now + part * longest_);
  held_.emplace(latest, std::move(envelope));  // after those of the same time
}

void DelayedMail::release(double now, std::deque<Envelope>& ready) {
  while (!held_.empty() && held_.begin()->first <= now) {
    ready.push_back(std::move(held_.begin()->second));
    held_.erase(held_.begin());
  }
}

}  // namespace deepsearch
