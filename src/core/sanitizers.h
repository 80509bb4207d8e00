// What of a sanitizer the program itself has to mind.
#pragma once

namespace deepsearch {

// Built with a sanitizer that maps terabytes of shadow memory: no limit on the address space can be set, and the
// memory a process holds says nothing. GCC tells by macros, clang by features.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kHasShadowMemory = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kHasShadowMemory = true;
#else
inline constexpr bool kHasShadowMemory = false;
#endif
#else
inline constexpr bool kHasShadowMemory = false;
#endif

}  // namespace deepsearch
