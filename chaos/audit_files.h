// Reads what chaos/audit.h judges: checkpoints, weights, ledger, store, logs of a run, and the harness's event log.
// Thread-safe: reads alone, and may read beside a running learner.
#ifndef SWERVE_CHAOS_AUDIT_FILES_H_
#define SWERVE_CHAOS_AUDIT_FILES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/role_files.h"
#include "base/status.h"
#include "buffers/buffers.h"
#include "chaos/audit.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// What a checkpoint's state.json says. NOT_FOUND: there is none; DATA_LOSS: it cannot be read.
absl::StatusOr<CheckpointSeen> ReadCheckpoint(const std::string& dir);

// The steps that have a directory under their final name, ascending.
std::map<uint64_t, std::string> ListCheckpoints(const RunDir& run);

// Each checkpoint under its final name: every file that its state.json lists is there at full size, and every
// safetensors file opens. `checksums` (of announced weights, by version): the policy inside has that of its version.
// One that the learner removes meanwhile is left out.
std::vector<FileCheck> CheckCheckpoints(const RunDir& run, const std::map<int64_t, std::string>& checksums,
                                        const std::string& when);

// Every weights file that is still there has the checksum that was announced, and the newest one is there.
std::vector<FileCheck> CheckWeights(const RunDir& run, const std::map<int64_t, std::string>& checksums,
                                    const v1::PolicyManifest& newest, const std::string& when);

// Everything, at a run's end. `events` is the harness's log; its lines "weights", "checkpoint", "file" and "ending" are
// taken over. Errors of files and store: what cannot be read proves nothing.
absl::StatusOr<AuditInput> LoadAudit(const RunDir& run, const v1::RunConfig& config, Buffers* buffers,
                                     const std::string& events);

}  // namespace swerve

#endif  // SWERVE_CHAOS_AUDIT_FILES_H_
