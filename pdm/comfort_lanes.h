// The comfort checks in vector lanes: all but lateral acceleration, which no candidate changes. For comfort.cc.
#ifndef SWERVE_PDM_COMFORT_LANES_H_
#define SWERVE_PDM_COMFORT_LANES_H_

#include "pdm/comfort.h"

namespace swerve::pdm {

// Sets everything in out[0 … lanes) but kLatAcc.
void CheckComfortLanes(const Comfort& comfort, const LaneStates& states, int lanes, ComfortResult* out);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_COMFORT_LANES_H_
