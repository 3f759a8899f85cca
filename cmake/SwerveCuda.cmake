# Kernels for CUDA devices, where CMake finds a compiler for them; without one the engine and the learner run on the CPU alone.
# The runtime is linked statically and needs neither driver nor device to start; cuBLASLt is loaded when a device is asked for.
option(SWERVE_WITH_CUDA "Build the CUDA kernels if CMake finds nvcc" ON)
set(SWERVE_CUDA OFF)
if(SWERVE_TORCH AND SWERVE_WITH_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
endif()
if(CMAKE_CUDA_COMPILER)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)  # Ampere, Hopper, and what comes after by the driver's compiler
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that this nvcc takes it
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  find_package(CUDAToolkit REQUIRED)
  set(SWERVE_CUDA ON)
endif()
