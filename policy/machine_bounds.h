// What this machine can do at most, measured: the bounds that benchmarks are held against. Each call takes a fraction of a
// second on `threads` threads of its own.
#ifndef SWERVE_POLICY_MACHINE_BOUNDS_H_
#define SWERVE_POLICY_MACHINE_BOUNDS_H_

namespace swerve {

// Bytes per second that the threads together read from memory, in order, out of far more than the caches hold.
double ReadBytesPerSecond(int threads);

// Multiplications and additions per second (a multiply-add counts two) of the kernels' own instructions on registers, with
// `bf16` of those that take pairs of bf16.
double FlopsPerSecond(int threads, bool bf16);

}  // namespace swerve

#endif  // SWERVE_POLICY_MACHINE_BOUNDS_H_
