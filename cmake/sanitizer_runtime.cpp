// Linked into every program that is built with a sanitizer: what the leak checker need not report.
#include <dlfcn.h>

extern "C" {

// Open MPI's modules stay loaded, so that their memory keeps a name the list below can give. Overrides libc's.
int dlclose(void*) {
  return 0;
}

// What Open MPI and its libraries, and libtorch's own initialisation, never free.
const char* __lsan_default_suppressions() {
  return "leak:libmpi.so\nleak:libopen-rte.so\nleak:libopen-pal.so\nleak:libpmix.so\nleak:libhwloc.so\nleak:mca_\n"
         "leak:libevent\nleak:libucp.so\nleak:libucs.so\nleak:libuct.so\nleak:libibverbs.so\nleak:libfabric.so\n"
         "leak:libpsm\nleak:libnl-\nleak:pmix_mca\n";
}

// Not one word about what was suppressed: it would stand between the tests' lines.
const char* __lsan_default_options() {
  return "print_suppressions=0";
}
}
