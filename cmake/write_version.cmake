set(REVISION "unknown")
find_package(Git QUIET)
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} describe --always --dirty --abbrev=12 WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE FOUND OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE STATUS)
  if(STATUS EQUAL 0 AND FOUND)
    set(REVISION ${FOUND})
  endif()
endif()
set(TEXT "#pragma once
#define DEEPSEARCH_VERSION \"${VERSION}\"
#define DEEPSEARCH_REVISION \"${REVISION}\"
")
if(EXISTS ${OUT})
  file(READ ${OUT} OLD)
endif()
if(NOT "${OLD}" STREQUAL "${TEXT}")
  file(WRITE ${OUT} "${TEXT}")
endif()
