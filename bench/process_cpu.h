// CPU time of another process, and what became of a core's time.
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

// Of a core, since the machine started, in ticks like the above: when it had nothing to do, and when its host ran something
// else in its place. Zeros where the kernel does not tell.
struct CoreSeconds {
  double idle = 0, stolen = 0;
};

inline CoreSeconds SecondsOfCore(int core) {
  std::ifstream in("/proc/stat");
  const std::string name = absl::StrCat("cpu", core);
  CoreSeconds out;
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> cells = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (cells.size() < 9 || cells[0] != name) continue;
    double wait = 0;
    if (!absl::SimpleAtod(cells[4], &out.idle) || !absl::SimpleAtod(cells[5], &wait) ||
        !absl::SimpleAtod(cells[8], &out.stolen)) {
      return {};
    }
    out.idle += wait;
    const double tick = static_cast<double>(sysconf(_SC_CLK_TCK));
    return {out.idle / tick, out.stolen / tick};
  }
  return {};
}

}  // namespace swerve::bench

#endif  // SWERVE_BENCH_PROCESS_CPU_H_
