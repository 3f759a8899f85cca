// The reward service over HTTP and JSON. Thread-safe.
//
//   GET  /health, /ping     200 {"status": "ok"}
//   POST /score             {"token": scene id, "poses": [[x, y, heading] × 8], "verbose": false} → one object
//   POST /score_group       the same with poses [[[x, y, heading] × 8], …] → a list in their order
//   POST /v1/score_group    swerve.v1.ScoreGroupRequest as protobuf's JSON (scenes by id or inline) → ScoreGroupReply
//
// The three fields of the published contract stand alone or with "rules": "v1" (PDMS, NAVSIM v1.1), "v1.0" or "v2"
// (EPDMS: "epdms", "traffic_light_compliance", "lane_keeping" and "forgiven" come on top); without it as configured.
//
// The first three speak the contract that Curious-VLA's reward server made public (spec: systems §1.5), so a trainer
// written for it needs only the address: NAVSIM's names of the sub-scores, "pdms", and "pdms_scaled". A trajectory that
// cannot be scored is an outcome of the policy: 200 with "valid": false, a reason in "invalid", and scores of 0.
// Errors are {"error": {"code", "message"}} with status 400, 404, 413, 429 (Retry-After), 503 or 504: never a score.
#ifndef SWERVE_REWARD_SERVICE_HTTP_API_H_
#define SWERVE_REWARD_SERVICE_HTTP_API_H_

#include <string>

#include "absl/strings/string_view.h"
#include "base/http_server.h"
#include "base/status.h"
#include "reward_service/scoring_pool.h"

namespace swerve {

// Blocks until the pool has answered.
HttpResponse AnswerHttp(const HttpCall& request, ScoringPool* pool);

// The parts.

// Reads the body of /score (`group` false) or /score_group: one candidate per trajectory, weights of the trajectory
// alone. Memory stays within a small multiple of the text. INVALID_ARGUMENT says what is wrong.
absl::StatusOr<v1::ScoreGroupRequest> ParsePoses(absl::string_view body, bool group, bool* verbose);

// Curious-VLA's focal score: 0 when NC or DAC is 0, else (5 f(EP) + 5 f(TTC) + 2 C) / 12 with f(x) = 1 - (1-x)^0.6,
// which spreads what is close to 1.
double ScaledPdms(const v1::SubScores& scores);

// The answer to an error: its status code in HTTP, and Retry-After when it has a hint.
HttpResponse HttpError(const absl::Status& status);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_HTTP_API_H_
