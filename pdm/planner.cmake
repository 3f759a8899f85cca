# Resolver, reference planner and the search for the best plan: built on the scorer, used by importers and generator.
swerve_library(swerve_planner SRCS route.cc planner.cc resolve.cc best_plan.cc DEPS swerve_pdm)
swerve_test(pdm_resolve_test SRCS ${PROJECT_SOURCE_DIR}/tests/pdm/resolve_test.cc DEPS swerve_planner swerve_scene_json ZLIB::ZLIB)
