// Scenes as they come inline by gRPC: protobuf, with nothing checked before.
#include <google/protobuf/stubs/logging.h>

#include "tests/fuzz/score_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Text that is not UTF-8 is refused; that each field is also named on stderr helps nobody here.
  static const auto quiet [[maybe_unused]] = google::protobuf::SetLogHandler(nullptr);
  swerve::v1::Scene scene;
  if (!scene.ParseFromArray(data, static_cast<int>(size))) return 0;
  swerve::testing::ScoreEverything(scene);
  return 0;
}
