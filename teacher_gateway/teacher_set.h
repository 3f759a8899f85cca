// The teachers in force at one time: who gets a group, and who is asked when that one gives no report. Immutable, so that
// a group in flight ends under the set it began with.
#ifndef SWERVE_TEACHER_GATEWAY_TEACHER_SET_H_
#define SWERVE_TEACHER_GATEWAY_TEACHER_SET_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/api_key.h"
#include "base/retry_clock.h"
#include "teacher_gateway/gateway_store.h"
#include "base/http_client.h"
#include "teacher_gateway/limits.h"
#include "teacher_gateway/metrics.h"
#include "teacher_gateway/teacher.h"
#include "teacher_gateway/teachers_file.h"

namespace swerve {

// What openai teachers share.
struct TeacherParts {
  std::shared_ptr<HttpTransport> http;
  std::shared_ptr<GatewayStore> store;  // null: nothing is remembered
  RetryClock clock;
};

class TeacherSet {
 public:
  struct Member {
    v1::TeacherSpec spec;
    std::shared_ptr<const Teacher> teacher;
    std::string version, template_hash;     // openai: what feedback records
    std::shared_ptr<TeacherLimits> limits;  // null: embedded
    ApiKey key;
    double share = 0;  // of groups; of a shadow: that it sees
    std::shared_ptr<const TeacherMetrics> metrics;
  };

  // Finds keys and templates. A teacher that is the same in `previous` (may be null) is taken over with its connections;
  // one of the same name keeps its limits' state. INVALID_ARGUMENT with the line of what cannot be had; then nothing of
  // `previous` has changed.
  static absl::StatusOr<std::shared_ptr<const TeacherSet>> Build(const TeachersSource& source,
                                                                 const TeacherParts& parts,
                                                                 const TeacherSet* previous, uint64_t version);

  // The teacher of a group, by a hash of (scene, group) in proportion to weights. Changing one weight moves only the
  // groups that it has to.
  const Member& ArmOf(const std::string& scene_id, uint64_t group) const;

  // Asks the group's teacher, then, for the responses that got no report, its fallbacks in turn. What nobody reports on
  // keeps the last outcome. Counts outcomes, fallbacks and copies of the ground truth. Blocks as the teachers do.
  v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene, absl::Time deadline) const;

  // Shadows that get a copy of a group, by a hash of (scene, group), and what they do with it: reports are counted and
  // forgotten. Blocks as the teacher does.
  std::vector<const Member*> ShadowsOf(const std::string& scene_id, uint64_t group) const;
  void AskShadow(const Member& shadow, const v1::DiagnoseRequest& request, const v1::Scene& scene) const;

  uint64_t version() const { return version_; }
  const std::vector<Member>& members() const { return members_; }

 private:
  static absl::Status MakeMember(const TeachersSource& source, int index, const TeacherParts& parts,
                                 const TeacherSet* previous, Member* member);
  const Member* Find(const std::string& name) const;
  v1::DiagnoseReply Ask(const Member& member, const v1::DiagnoseRequest& request, const v1::Scene& scene,
                        absl::Time deadline) const;

  uint64_t version_ = 0;
  RetryClock clock_;
  std::vector<Member> members_;
  std::map<std::string, Member> embedded_;  // fallbacks without an entry of their own
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_TEACHER_SET_H_
