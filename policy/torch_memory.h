// Memory of LibTorch's CPU tensors for training. A step frees what it took and the next one takes as much again; pages that come
// fresh from the system, 4 KiB at a time, cost a small model's step 8 % and more.
#ifndef SWERVE_POLICY_TORCH_MEMORY_H_
#define SWERVE_POLICY_TORCH_MEMORY_H_

namespace swerve {

// From now on this process's CPU tensors lie on huge pages where they are large and the system has some, and what is freed, by
// tensors or anything else, is kept for what comes next: the process's memory stays at its peak. Pieces over 32 MiB alone come
// fresh each time. Any number of threads may call it; again: nothing. To be called before tensors are made on other threads.
void KeepTorchMemory();

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_MEMORY_H_
