#!/usr/bin/env bash
# Writes swerve/protos.bin, the compiled form of proto/swerve/v1/reward_batch.proto and what it imports. Run it when a proto
# changes; a test fails until then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
protoc -I ../proto --include_imports --descriptor_set_out=swerve/protos.bin swerve/v1/reward_batch.proto
