// What a fuzzer finds: a statement that does not hold ends the process.
#ifndef SWERVE_TESTS_FUZZ_REQUIRE_H_
#define SWERVE_TESTS_FUZZ_REQUIRE_H_

#include <cstdlib>

namespace swerve::testing {

inline void Require(bool holds) {
  if (!holds) abort();
}

}  // namespace swerve::testing

#endif  // SWERVE_TESTS_FUZZ_REQUIRE_H_
