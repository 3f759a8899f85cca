// The run's configuration: YAML files and key=value overrides into v1::RunConfig. proto/swerve/v1/config.proto holds
// every default; this file only reads by reflection, so a new field needs no code here. Stateless and thread-safe.
//
// A section that has a field `url` may be given as the URL alone: "buffers=redis://host".
// Refused with INVALID_ARGUMENT, naming file, line, path and what would be right: an unknown field (with the nearest
// known name), a value of the wrong type, a duplicate key, a value out of range. NOT_FOUND: no such file. No message
// holds the password of a URL.
#ifndef SWERVE_BASE_CONFIG_H_
#define SWERVE_BASE_CONFIG_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// Reads `file` ("" : defaults alone), then applies overrides such as "learner.steps=20" or "scenes.train=[a, b]" in
// order; an override's value is YAML. The result is checked (ValidateRunConfig) and has reward_weights filled in.
absl::StatusOr<v1::RunConfig> LoadRunConfig(const std::string& file, const std::vector<std::string>& overrides = {});

// The same for YAML text; `name` stands for the file in messages.
absl::StatusOr<v1::RunConfig> ParseRunConfig(const std::string& yaml, const std::string& name,
                                             const std::vector<std::string>& overrides = {});

// True for 127.… and localhost: what only this machine reaches.
bool IsLoopback(const std::string& listen);

// Ranges and known names. The message gives the path and what is allowed.
absl::Status ValidateRunConfig(const v1::RunConfig& config);

// The same reading for another message (a file of teachers): unknown and ill-typed fields are refused with line and
// path. Repeated messages are lists of mappings. Adds to what `message` holds; nothing but types is checked.
absl::Status ReadYamlMessage(const std::string& yaml, const std::string& name, google::protobuf::Message* message);

// The fields that are set, and no others; ReadYamlMessage reads it back.
std::string SetFieldsToYaml(const google::protobuf::Message& message);

// Every field with the value in force, in the order of config.proto; an optional field without default that is not
// set is written as `~`, which reads back as not set. A Redis URL loses its password: what is written is for reading.
std::string ToYaml(const v1::RunConfig& config);

// Dotted paths of all fields: "seed", "learner.steps", … in the order of config.proto.
std::vector<std::string> ConfigPaths();

}  // namespace swerve

#endif  // SWERVE_BASE_CONFIG_H_
