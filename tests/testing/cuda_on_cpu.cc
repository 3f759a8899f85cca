#include "tests/testing/cuda_on_cpu.h"

#include <setjmp.h>
#include <ucontext.h>

#include <memory>
#include <vector>

namespace swerve::cuda_on_cpu {

Dim3 thread_index, block_index, block_dim, grid_dim;

namespace {

constexpr size_t kStack = 64 << 10;

// Threads that wait for each other.
struct Meeting {
  int members = 0, arrived = 0;
  uint64_t round = 0;
};

// Begun by makecontext; from then on by jumps, which make no system call.
struct Fiber {
  ucontext_t start;
  jmp_buf at;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool begun = false, done = false;
  uint64_t brought = 0;
};

struct Block {
  ucontext_t unused;
  jmp_buf scheduler;
  std::vector<Fiber> fibers;
  std::vector<Meeting> warps;
  Meeting all;
  const std::function<void()>* thread = nullptr;
  int current = 0;
};
Block block;

void Yield() {
  if (_setjmp(block.fibers[block.current].at) == 0) _longjmp(block.scheduler, 1);
}

void Resume(Fiber* f) {
  if (_setjmp(block.scheduler) != 0) return;
  if (f->begun) _longjmp(f->at, 1);
  f->begun = true;
  swapcontext(&block.unused, &f->start);
}

void Advance(Meeting* m) {
  if (m->arrived > 0 && m->arrived >= m->members) m->arrived = 0, ++m->round;
}

void Meet(Meeting* m) {
  const uint64_t round = m->round;
  ++m->arrived;
  Advance(m);
  while (m->round == round) Yield();
}

void Enter() {
  (*block.thread)();
  Fiber& self = block.fibers[block.current];
  self.done = true;
  Meeting* warp = &block.warps[block.current / 32];
  for (Meeting* m : {warp, &block.all}) {
    --m->members;
    Advance(m);
  }
  Yield();
}

void RunBlock(int threads) {
  block.all = {threads};
  block.warps.assign((threads + 31) / 32, {});
  for (int i = 0; i < threads; ++i) {
    ++block.warps[i / 32].members;
    Fiber& f = block.fibers[i];
    f.begun = f.done = false;
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = f.stack.get();
    f.start.uc_stack.ss_size = kStack;
    f.start.uc_link = nullptr;
    makecontext(&f.start, Enter, 0);
  }
  for (int left = threads; left > 0;) {
    for (int i = 0; i < threads; ++i) {
      if (block.fibers[i].done) continue;
      block.current = i;
      thread_index = Dim3(i, 0, 0);
      Resume(&block.fibers[i]);
      if (block.fibers[i].done) --left;
    }
  }
}

}  // namespace

void Barrier() { Meet(&block.all); }
void WarpBarrier() { Meet(&block.warps[block.current / 32]); }

uint64_t Exchange(uint64_t value, int mask) {
  const int self = block.current;
  block.fibers[self].brought = value;
  WarpBarrier();
  const uint64_t got = block.fibers[self ^ mask].brought;
  WarpBarrier();
  return got;
}

void Bring(const void* mine) { block.fibers[block.current].brought = reinterpret_cast<uintptr_t>(mine); }
const void* Brought(int lane) { return reinterpret_cast<const void*>(static_cast<uintptr_t>(block.fibers[block.current / 32 * 32 + lane].brought)); }

void Run(Dim3 grid, int threads, const std::function<void()>& thread) {
  if (static_cast<int>(block.fibers.size()) < threads) block.fibers.resize(threads);
  block.thread = &thread;
  block_dim = Dim3(threads);
  grid_dim = grid;
  for (int z = 0; z < grid.z; ++z) {
    for (int y = 0; y < grid.y; ++y) {
      for (int x = 0; x < grid.x; ++x) {
        block_index = Dim3(x, y, z);
        RunBlock(threads);
      }
    }
  }
}

}  // namespace swerve::cuda_on_cpu
