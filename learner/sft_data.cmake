# Examples for supervised fine-tuning; torch-free, so that tokenizer texts and tests need no LibTorch.
swerve_library(swerve_sft_data
  SRCS ${CMAKE_CURRENT_LIST_DIR}/sft_data.cc ${CMAKE_CURRENT_LIST_DIR}/perturb.cc
       ${CMAKE_CURRENT_LIST_DIR}/sft_data_commands.cc
  ALONE ${CMAKE_CURRENT_LIST_DIR}/perturb.cc
  DEPS swerve_base swerve_proto swerve_pdm swerve_scenes swerve_policy_api swerve_teacher absl::strings absl::str_format
       absl::span nlohmann_json::nlohmann_json CLI11::CLI11)
swerve_test(sft_data_test
  SRCS ${PROJECT_SOURCE_DIR}/tests/learner/sft_data_test.cc ${PROJECT_SOURCE_DIR}/tests/learner/perturb_test.cc
  DEPS swerve_sft_data)
