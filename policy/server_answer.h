// From what an inference server answered to a response that may be trained on. Pure, thread-safe.
#ifndef SWERVE_POLICY_SERVER_ANSWER_H_
#define SWERVE_POLICY_SERVER_ANSWER_H_

#include "policy/engine_text.h"
#include "policy/server_dialect.h"

namespace swerve {

// Fills tokens, log-probabilities, finish, text, parse and poses of `response`; what came after an end-of-turn mark or a stop
// string is cut off, as the local engine never samples it, from answer->top too. DATA_LOSS: ids outside the vocabulary, a
// log-probability that is none, more tokens than asked for, none at all; FAILED_PRECONDITION: a server that runs another prompt
// than was sent (its template or preprocessor differ), or ends sooner than asked (its context is smaller).
absl::Status AcceptAnswer(const EngineText& text, const ServerAsk& ask, ServerAnswer* answer, v1::Response* response);

}  // namespace swerve

#endif  // SWERVE_POLICY_SERVER_ANSWER_H_
