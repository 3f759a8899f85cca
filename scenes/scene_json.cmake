# Scene <-> JSON; a library of its own, for rooms that need no store.
swerve_library(swerve_scene_json SRCS ${CMAKE_CURRENT_LIST_DIR}/scene_json.cc ${CMAKE_CURRENT_LIST_DIR}/scene_json_write.cc
  DEPS swerve_base swerve_proto nlohmann_json::nlohmann_json)
