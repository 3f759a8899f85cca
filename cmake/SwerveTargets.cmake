# swerve_library(name SRCS … DEPS …), swerve_test(name SRCS … DEPS …), swerve_bench(name SRCS … DEPS …).
# ALONE names those of the sources that share a file-local name with another, or read themselves several times: where
# SWERVE_UNITY puts sources together (a third of the compiler's time, of use where nothing is built twice), they stay apart.
# Includes are written from the repository's root ("pdm/score.h"); protos as "swerve/v1/scene.pb.h".
include(GoogleTest)

# How tests run under sanitizers: a finding ends the test, and false alarms from Debian's uninstrumented libraries are
# suppressed by name, each with its reason, in the .supp files.
set(SWERVE_TEST_ENVIRONMENT "")
if(SWERVE_SANITIZE MATCHES "undefined")
  list(APPEND SWERVE_TEST_ENVIRONMENT "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1")
endif()
if(SWERVE_SANITIZE MATCHES "address")
  list(APPEND SWERVE_TEST_ENVIRONMENT "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/lsan.supp:print_suppressions=0")
endif()
if(SWERVE_SANITIZE MATCHES "thread")
  list(APPEND SWERVE_TEST_ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp:print_suppressions=0:second_deadlock_stack=1")
endif()

function(swerve_unity name)  # and the sources to leave alone
  if(SWERVE_UNITY)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
    foreach(source ${ARGN})
      set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endforeach()
  endif()
endfunction()

function(swerve_library name)
  cmake_parse_arguments(A "TORCH" "" "SRCS;DEPS;ALONE" ${ARGN})
  add_library(${name} STATIC ${A_SRCS})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC swerve_flags ${A_DEPS})
  swerve_unity(${name} ${A_ALONE})
  if(A_TORCH)
    target_link_libraries(${name} PUBLIC swerve_torch)
    if(NOT name STREQUAL "swerve_torch_pch")
      target_precompile_headers(${name} REUSE_FROM swerve_torch_pch)
    endif()
  endif()
endfunction()

function(swerve_test name)
  cmake_parse_arguments(A "TORCH" "TIMEOUT" "SRCS;DEPS;ALONE" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  add_executable(${name} ${A_SRCS})
  target_link_libraries(${name} PRIVATE swerve_flags ${A_DEPS} GTest::gmock GTest::gtest_main)
  swerve_unity(${name} ${A_ALONE})
  target_compile_definitions(${name} PRIVATE SWERVE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(TARGET swerve_tsan)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:swerve_tsan>)
  endif()
  if(A_TORCH)
    target_link_libraries(${name} PRIVATE swerve_torch)
    # As the precompiled header was: an executable would say -fPIE, and the header be read anew.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIC)
    target_precompile_headers(${name} REUSE_FROM swerve_torch_pch)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  # One ctest entry per binary: process start-up (LibTorch) is paid once.
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} ENVIRONMENT "SWERVE_BINARY=$<TARGET_FILE:swerve>;${SWERVE_TEST_ENVIRONMENT}")
endfunction()

function(swerve_bench name)
  cmake_parse_arguments(A "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${A_SRCS})
  target_link_libraries(${name} PRIVATE swerve_flags ${A_DEPS} benchmark::benchmark)
  if(TARGET swerve_tsan)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:swerve_tsan>)
  endif()
endfunction()
