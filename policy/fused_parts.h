// For the sources of FusedModel alone: its buffers, and how the members of a team share what there is to do.
#ifndef SWERVE_POLICY_FUSED_PARTS_H_
#define SWERVE_POLICY_FUSED_PARTS_H_

#include <cstdint>
#include <vector>

#include "policy/fused_model.h"

namespace swerve {

// From as many on, rows are worth a meeting of the team, and multiplications.
inline constexpr int64_t kRowsApart = 8, kMacsApart = 200'000;

template <typename T>
T* Room(std::vector<T>* v, int64_t n) {
  if (static_cast<int64_t>(v->size()) < n) v->resize(n);
  return v->data();
}
inline int Round32(int n) { return (n + 31) / 32 * 32; }

// body(from, to) over [0, count), a part for each member; in one part where that has less than `apart` for a member.
template <typename Body>
void ForParts(FusedModel::Scratch* s, int64_t count, int64_t apart, const Body& body) {
  const int64_t members = s->team == nullptr ? 1 : s->team->size();
  if (members == 1 || count < members * apart) return body(0, count);
  s->team->Run([&](int member) {
    const int64_t from = count * member / members, to = count * (member + 1) / members;
    if (from < to) body(from, to);
  });
}

// body(i, lane) for each i in [0, count), dealt out in turns, since later rows attend to more.
template <typename Body>
void ForEach(FusedModel::Scratch* s, int64_t count, int64_t apart, const Body& body) {
  const int64_t members = s->team == nullptr ? 1 : s->team->size();
  if (static_cast<int64_t>(s->lanes.size()) < members) s->lanes.resize(members);
  if (members == 1 || count < members * apart) {
    for (int64_t i = 0; i < count; ++i) body(i, &s->lanes[0]);
    return;
  }
  s->team->Run([&](int member) {
    for (int64_t i = member; i < count; i += members) body(i, &s->lanes[member]);
  });
}

}  // namespace swerve

#endif  // SWERVE_POLICY_FUSED_PARTS_H_
