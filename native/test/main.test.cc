// The one binary of all native unit tests: doctest's main. Tests are the other test/*.test.cc.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
