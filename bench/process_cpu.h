// CPU time of another process.
#ifndef SWERVE_BENCH_PROCESS_CPU_H_
#define SWERVE_BENCH_PROCESS_CPU_H_

#include <sys/types.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace swerve::bench {

// Seconds of CPU that a process has used, all of its threads, in ticks of 10 ms on most machines; this one by 0. 0 where
// it has gone.
inline double ProcessCpuSeconds(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid == 0 ? getpid() : pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  const std::vector<std::string> cells = absl::StrSplit(text.substr(name_end + 2), ' ');
  double user = 0, system = 0;
  if (cells.size() < 13 || !absl::SimpleAtod(cells[11], &user) || !absl::SimpleAtod(cells[12], &system)) return 0;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace swerve::bench

#endif  // SWERVE_BENCH_PROCESS_CPU_H_
