// The families of generated scenes. Each is a function that fills a draft from its random stream; the table says what
// it is called and how rare it is on the road.
#ifndef SWERVE_SCENES_GENERATOR_FAMILY_H_
#define SWERVE_SCENES_GENERATOR_FAMILY_H_

#include "absl/types/span.h"
#include "base/random.h"
#include "scenes/generator/draft.h"

namespace swerve::generator {

struct Family {
  const char* name;
  bool rare;           // a plan that just goes on fails here more often than not
  double share;        // of the common mix
  const char* about;   // one line for --help
  void (*build)(Random&, Draft*);
};

absl::Span<const Family> Families();
const Family* FindFamily(const char* name);

// Rooms. Common driving:
void StraightFree(Random&, Draft*);
void LeadFollowing(Random&, Draft*);
void Curve(Random&, Draft*);
void StopBehindQueue(Random&, Draft*);
void IntersectionStraight(Random&, Draft*);
void IntersectionRightTurn(Random&, Draft*);
void IntersectionLeftTurn(Random&, Draft*);
// Other drivers' surprises:
void SharpCurve(Random&, Draft*);
void HardBrakingLeader(Random&, Draft*);
void CutIn(Random&, Draft*);
void PullOut(Random&, Draft*);
void Merge(Random&, Draft*);
void OncomingIntruder(Random&, Draft*);
// Crossing paths:
void UnprotectedLeftTurn(Random&, Draft*);
void CrossingVehicle(Random&, Draft*);
void CrossingPedestrian(Random&, Draft*);
void CrossingCyclist(Random&, Draft*);
// Unstructured corner cases:
void ParkedObstacle(Random&, Draft*);
void UnclearBoundary(Random&, Draft*);
void TemporaryRuleChange(Random&, Draft*);
void UnconventionalObstacle(Random&, Draft*);
void ChallengingConditions(Random&, Draft*);

}  // namespace swerve::generator

#endif  // SWERVE_SCENES_GENERATOR_FAMILY_H_
