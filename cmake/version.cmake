# The git revision goes into every file a run writes. It is looked up at each build, not at configure time only, and
# the header is rewritten only when it changed.
add_custom_target(deepsearch_revision
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${CMAKE_BINARY_DIR}/generated/deepsearch_version.h
          -DVERSION=${PROJECT_VERSION} -P ${CMAKE_SOURCE_DIR}/cmake/write_version.cmake
  BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/deepsearch_version.h
  COMMENT "Reading the git revision" VERBATIM)
