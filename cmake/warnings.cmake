# Warnings are errors in our own code; third-party headers come in as SYSTEM.
add_library(deepsearch_warnings INTERFACE)
target_compile_options(deepsearch_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wnull-dereference -Wformat=2 -Wimplicit-fallthrough -Werror>)

target_compile_options(deepsearch_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xcompiler=-Wall,-Wextra,-Wshadow>)

if(DEEPSEARCH_SANITIZE)
  target_compile_options(deepsearch_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${DEEPSEARCH_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    # A check of every reference and member access trebles compile times, and the address sanitizer sees null anyway.
    -fno-sanitize=null
    # GCC's flow warnings see the sanitizer's own checks and report nonsense.
    -Wno-null-dereference -Wno-maybe-uninitialized>)
  target_link_options(deepsearch_warnings INTERFACE -fsanitize=${DEEPSEARCH_SANITIZE})
  add_library(deepsearch_sanitizer OBJECT ${CMAKE_CURRENT_LIST_DIR}/sanitizer_runtime.cpp)
  target_sources(deepsearch_warnings INTERFACE
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:$<TARGET_OBJECTS:deepsearch_sanitizer>>)
endif()
