// A run's processes, found in /proc by how they were started. Stateless.
#ifndef SWERVE_CHAOS_PROCESSES_H_
#define SWERVE_CHAOS_PROCESSES_H_

#include <sys/types.h>

#include <string>

namespace swerve {

// The living `swerve serve … --run RUN --name NAME`; 0: there is none now.
pid_t PidOfRole(const std::string& run_dir, const std::string& name);

}  // namespace swerve

#endif  // SWERVE_CHAOS_PROCESSES_H_
