# Resolver, reference planner and the search for the best plan: built on the scorer, used by importers and generator.
swerve_library(swerve_planner SRCS route.cc planner.cc resolve.cc best_plan.cc strip.cc traffic.cc ALONE best_plan.cc traffic.cc
  DEPS swerve_pdm)
swerve_test(pdm_resolve_test SRCS ${PROJECT_SOURCE_DIR}/tests/pdm/resolve_test.cc DEPS swerve_planner swerve_scene_json ZLIB::ZLIB)
swerve_test(pdm_traffic_test
  SRCS ${PROJECT_SOURCE_DIR}/tests/pdm/traffic_test.cc ${PROJECT_SOURCE_DIR}/tests/pdm/robustness_test.cc
  ALONE ${PROJECT_SOURCE_DIR}/tests/pdm/robustness_test.cc
  DEPS swerve_planner)
