#include "policy/checkpoint.h"

#include <unistd.h>

#include <cstring>
#include <deque>
#include <filesystem>
#include <set>

#include "absl/strings/str_join.h"
#include "base/files.h"
#include "base/sha256.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCopied[] = {
    "config.json", "generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "merges.txt",
    // The original InternVL repository's own code.
    "configuration_intern_vit.py", "configuration_internvl_chat.py", "conversation.py", "modeling_intern_vit.py", "modeling_internvl_chat.py"};

// Rows [part/3, (part+1)/3) of a fused tensor; rows lie together.
TensorView Third(const TensorView& whole, int part) {
  TensorView v = whole;
  v.shape[0] /= 3;
  v.bytes /= 3;
  v.data += part * v.bytes;
  return v;
}

bool SameBytes(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.bytes == b.bytes && std::memcmp(a.data, b.data, a.bytes) == 0;
}

// What tied weights mean for this file: see MapTensors.
void ResolveTied(std::map<std::string, TensorView>* all) {
  const auto head = all->find(kHeadName);
  if (head == all->end()) return;
  const auto [embedding, fresh] = all->try_emplace(kEmbeddingName, head->second);
  if (fresh || SameBytes(embedding->second, head->second)) all->erase(head);
}

// What is stored beside the expected tensors goes along; parts of a fused tensor are put together again.
class Writer {
 public:
  Writer(const ModelConfig& config, absl::Span<const NamedTensor> tensors) : config_(config), tensors_(tensors) {
    for (const NamedTensor& t : tensors) by_name_[t.name] = &t;
  }

  void Follow(const Weights& example) {
    std::map<std::string, std::string> fused_of;
    for (const auto& [stored, view] : example.tensors) {
      const std::string name = CanonicalName(stored, config_);
      for (const std::string& part : FusedParts(name)) fused_of[part] = stored;
      stored_[name] = {stored, &view};
    }
    for (const NamedTensor& t : tensors_) {
      const auto fused = fused_of.find(t.name);
      fused == fused_of.end() ? Add(t) : AddFused(fused->second, stored_.at(CanonicalName(fused->second, config_)).second->shape);
    }
    for (const auto& [name, entry] : stored_) {
      const auto& [stored, view] = entry;
      if (written_.count(stored)) continue;
      if (name == kHeadName && by_name_.count(kEmbeddingName)) {  // tied, and stored all the same
        NamedTensor head = *by_name_[kEmbeddingName];
        head.name = stored;
        Put(std::move(head));
      } else {
        Put({stored, view->shape, view->data, view->dtype_name});
      }
    }
  }
  const std::vector<NamedTensor>& out() const { return out_; }

 private:
  void Put(NamedTensor t) {
    if (written_.insert(t.name).second) out_.push_back(std::move(t));
  }
  void Add(const NamedTensor& t) {
    NamedTensor copy = t;
    const auto it = stored_.find(t.name);
    copy.name = it == stored_.end() ? StoredName(t.name, config_) : it->second.first;
    if (it != stored_.end()) copy.shape = it->second.second->shape;  // leading ones as they were
    Put(std::move(copy));
  }
  void AddFused(const std::string& stored, const std::vector<int64_t>& shape) {
    if (written_.count(stored)) return;
    std::string& bytes = held_.emplace_back();
    std::string dtype = "F32";
    for (const std::string& part : FusedParts(CanonicalName(stored, config_))) {
      const NamedTensor& t = *by_name_.at(part);
      size_t size = t.dtype == "F32" ? 4 : 2;
      for (int64_t d : t.shape) size *= d;
      bytes.append(static_cast<const char*>(t.data), size);
      dtype = t.dtype;
    }
    Put({stored, shape, bytes.data(), dtype});
  }

  const ModelConfig& config_;
  const absl::Span<const NamedTensor> tensors_;
  std::map<std::string, const NamedTensor*> by_name_;
  std::map<std::string, std::pair<std::string, const TensorView*>> stored_;  // by canonical name
  std::set<std::string> written_;
  std::deque<std::string> held_;
  std::vector<NamedTensor> out_;
};

}  // namespace

absl::StatusOr<MappedTensors> MapTensors(const std::string& dir, const ModelConfig& config) {
  MappedTensors out;
  SWERVE_ASSIGN_OR_RETURN(out.files, OpenWeights(dir));
  std::map<std::string, TensorView> all;
  for (const auto& [stored, view] : out.files.tensors) {
    const std::string name = CanonicalName(stored, config);
    const std::vector<std::string> parts = FusedParts(name);
    const bool splits = !parts.empty() && !view.shape.empty() && view.shape[0] % 3 == 0;
    for (int i = 0; splits && i < 3; ++i) all[parts[i]] = Third(view, i);
    if (!splits) all[name] = view;
  }
  ModelConfig expected = config;
  if (config.text.tied) {
    ResolveTied(&all);
    expected.text.tied = all.count(kHeadName) == 0;
  }
  for (const auto& [name, shape] : ExpectedTensors(expected)) {
    const auto it = all.find(name);
    auto bad = [&, name = name](auto... what) { return absl::InvalidArgumentError(absl::StrCat(dir, ": tensor '", name, "' ", what...)); };
    if (it == all.end()) return bad("is missing");
    const TensorView& view = it->second;
    if (view.dtype == DType::kOther) return bad("has dtype ", view.dtype_name, ", which is not supported (F32, F16, BF16)");
    int64_t want = 1;
    for (int64_t d : shape) want *= d;
    // The class token is stored with or without its leading ones; anything else must match.
    if (want != view.elements() || (view.shape != shape && shape.size() < 3)) {
      return bad("has shape [", absl::StrJoin(view.shape, ", "), "] where config.json asks for [", absl::StrJoin(shape, ", "), "]");
    }
    TensorView& put = out.tensors[name] = view;
    put.shape = shape;
  }
  return out;
}

absl::StatusOr<TensorMap> LoadTensors(const std::string& dir, const ModelConfig& config) {
  SWERVE_ASSIGN_OR_RETURN(const MappedTensors mapped, MapTensors(dir, config));
  TensorMap out;
  for (const auto& [name, view] : mapped.tensors) out[name] = {view.shape, view.ToFloat()};
  return out;
}

absl::Status SaveCheckpoint(const std::string& dir, const std::string& template_dir, const ModelConfig& config,
                            absl::Span<const NamedTensor> tensors, uint64_t max_shard_bytes) {
  const std::string temporary = absl::StrCat(dir, ".tmp.", getpid());
  std::error_code e;
  fs::remove_all(temporary, e);
  SWERVE_RETURN_IF_ERROR(MakeDirectories(temporary));
  for (const char* name : kCopied) {
    auto text = ReadFile(template_dir + "/" + name);
    if (absl::IsNotFound(text.status())) continue;
    SWERVE_RETURN_IF_ERROR(text.status());
    SWERVE_RETURN_IF_ERROR(WriteFileAtomically(temporary + "/" + name, *text));
  }
  auto example = OpenWeights(template_dir);
  if (!example.ok() && !absl::IsNotFound(example.status())) return example.status();
  Writer writer(config, tensors);
  writer.Follow(example.ok() ? *example : Weights());
  SWERVE_RETURN_IF_ERROR(WriteWeights(temporary, writer.out(), max_shard_bytes));
  fs::remove_all(dir, e);
  fs::create_directories(fs::path(dir).parent_path(), e);
  fs::rename(temporary, dir, e);
  if (e) return absl::InternalError(absl::StrCat("rename ", temporary, " to ", dir, ": ", e.message()));
  return absl::OkStatus();
}

absl::StatusOr<std::string> WeightsChecksum(const std::string& dir) {
  auto single = Sha256OfFile(dir + "/model.safetensors");
  if (!absl::IsNotFound(single.status())) return single;
  SWERVE_ASSIGN_OR_RETURN(std::string all, ReadFile(dir + "/model.safetensors.index.json"));
  std::set<std::string> names;
  std::error_code e;
  for (const auto& entry : fs::directory_iterator(dir, e)) {
    if (entry.path().extension() == ".safetensors") names.insert(entry.path().filename());
  }
  for (const std::string& name : names) {
    SWERVE_ASSIGN_OR_RETURN(const std::string sum, Sha256OfFile(dir + "/" + name));
    absl::StrAppend(&all, name, " ", sum, "\n");
  }
  return Sha256(all);
}

}  // namespace swerve
