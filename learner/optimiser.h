// AdamW with gradient clipping over a policy's parameters, and its state on disk. Weight decay acts on matrices alone,
// not on biases and norms. One thread (the learner's main one). Needs LibTorch: include only from trainers.
#ifndef SWERVE_LEARNER_OPTIMISER_H_
#define SWERVE_LEARNER_OPTIMISER_H_

#include <torch/torch.h>

#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

struct OptimiserOptions {
  double weight_decay = 0.05;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double max_grad_norm = 1.0;  // 0: no clipping
};

class Optimiser {
 public:
  // Parameters of `module` that require a gradient now; they must outlive the optimiser.
  Optimiser(const torch::nn::Module& module, const OptimiserOptions& options);

  void ZeroGrad();
  // Clips and steps at that learning rate. Returns the gradient's norm before clipping. A norm that is not finite is
  // returned and nothing is changed.
  double Step(double learning_rate);

  // Moments as safetensors, the count of steps in "step". Load restores exactly what Save wrote; INVALID_ARGUMENT when
  // the file belongs to another set of parameters.
  absl::Status Save(const std::string& path) const;
  absl::Status Load(const std::string& path);

 private:
  struct Slot {
    std::string name;
    torch::Tensor parameter, average, squares, step;  // the moments undefined before the first gradient
  };

  // One fused call for `slots`, which have gradients.
  void Update(const std::vector<Slot*>& slots, double learning_rate, double decay);

  const OptimiserOptions options_;
  std::vector<Slot> slots_;  // by name
};

}  // namespace swerve

#endif  // SWERVE_LEARNER_OPTIMISER_H_
