# LibTorch out of the PyPI wheel, as an imported target of our own: find_package(Torch) of that wheel demands a CUDA
# toolkit and puts its own protobuf first on the include path. libtorch.so and libtorch_cuda.so are never linked
# (their static TLS keeps threads with small stacks from starting).
file(GLOB _torch_dirs "${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
set(SWERVE_TORCH_DIR "" CACHE PATH "Directory of the torch Python package; empty: the project's .venv")
if(SWERVE_TORCH_DIR)
  set(_torch "${SWERVE_TORCH_DIR}")
elseif(_torch_dirs)
  list(GET _torch_dirs 0 _torch)
else()
  message(FATAL_ERROR "LibTorch not found: run ./swerve setup, or pass -DSWERVE_TORCH_DIR=…/site-packages/torch, or use the preset 'light'")
endif()
get_filename_component(_site "${_torch}" DIRECTORY)
add_library(swerve_torch INTERFACE)
# As gRPC and Abseil ask for it: the precompiled header and its users must agree on every macro.
target_compile_options(swerve_torch INTERFACE -pthread)
target_compile_options(swerve_torch INTERFACE "SHELL:-idirafter ${_torch}/include"
                       "SHELL:-idirafter ${_torch}/include/torch/csrc/api/include")
target_link_libraries(swerve_torch INTERFACE "${_torch}/lib/libtorch_cpu.so" "${_torch}/lib/libc10.so")
file(GLOB _nv "${_site}/nvidia/*/lib")
target_link_options(swerve_torch INTERFACE "-Wl,--allow-shlib-undefined" "-Wl,-rpath,${_torch}/lib")
foreach(d ${_nv})
  target_link_options(swerve_torch INTERFACE "-Wl,-rpath,${d}")
endforeach()
file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cc "// Holds the precompiled header that every LibTorch user reuses.\n")
add_library(swerve_torch_pch STATIC ${PROJECT_BINARY_DIR}/torch_pch.cc)
target_link_libraries(swerve_torch_pch PUBLIC swerve_flags swerve_torch)
target_precompile_headers(swerve_torch_pch PRIVATE <torch/torch.h>)
