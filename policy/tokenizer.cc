#include "policy/tokenizer.h"

#include <unicode/regex.h>
#include <unicode/unistr.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <queue>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_replace.h"
#include "base/files.h"
#include "policy/unicode_text.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
constexpr char kGpt2Regex[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr size_t kMaxTokens = 4u << 20;

struct AddedToken {
  std::string content, match;  // match: what is looked for, content normalised when the token is
  int32_t id = 0;
  bool special = false, normalized = false, lstrip = false, rstrip = false, single_word = false;
};

uint64_t PairKey(int32_t a, int32_t b) { return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b); }

}  // namespace

struct Tokenizer::Impl {
  absl::flat_hash_map<std::string, int32_t> vocabulary;  // in raw bytes
  std::vector<std::string> bytes_of;                     // by id; empty: no such id
  std::vector<bool> special;
  struct Merge {
    int32_t rank, id;
  };
  absl::flat_hash_map<uint64_t, Merge> merges;
  std::vector<AddedToken> added;
  std::vector<int32_t> by_first[2][256];  // added tokens, normalised or not, by first byte, longest first
  std::vector<std::unique_ptr<icu::RegexPattern>> splits;
  bool nfc = false, ignore_merges = false;
  int32_t byte_id[256];

  absl::Status Read(const Json& json);
  absl::Status ReadModel(const Json& model);
  absl::Status ReadAdded(const Json& list);
  void IndexAdded();
  absl::Status ReadPreTokenizer(const Json& p, int depth);
  absl::Status AddSplit(std::string regex);
  void SplitAdded(absl::string_view text, bool normalized, std::vector<int32_t>* ids) const;
  void EncodePlain(absl::string_view text, std::vector<int32_t>* ids) const;
  void EncodePieces(absl::string_view text, size_t level, std::vector<int32_t>* ids) const;
  void Bpe(absl::string_view piece, std::vector<int32_t>* ids) const;
};

absl::Status Tokenizer::Impl::ReadModel(const Json& model) {
  auto bad = [](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: model ", what)); };
  if (!model.is_object() || model.value("type", "BPE") != "BPE") return bad("is not BPE");
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.contains(key) && !model[key].is_null() && model[key] != "") return bad(absl::StrCat(key, " is not supported"));
  }
  ignore_merges = model.value("ignore_merges", false);
  if (!model.contains("vocab") || !model["vocab"].is_object() || model["vocab"].size() > kMaxTokens) return bad("has no vocab");
  absl::flat_hash_map<std::string, int32_t> spelled;
  for (const auto& [token, id] : model["vocab"].items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= static_cast<int64_t>(kMaxTokens)) {
      return bad(absl::StrCat("vocab '", token, "' has no valid id"));
    }
    const int32_t n = id.get<int32_t>();
    std::string raw;
    const bool mapped = Unspell(token, &raw);
    if (!mapped) raw = token;  // a special token spelled in the vocabulary
    spelled[token] = n;
    if (bytes_of.size() <= static_cast<size_t>(n)) bytes_of.resize(n + 1);
    bytes_of[n] = raw;
    if (mapped) vocabulary[raw] = n;
  }
  for (int b = 0; b < 256; ++b) {
    auto it = vocabulary.find(std::string(1, static_cast<char>(b)));
    if (it == vocabulary.end()) return bad(absl::StrCat("vocab lacks byte ", b));
    byte_id[b] = it->second;
  }
  if (!model.contains("merges") || !model["merges"].is_array()) return bad("has no merges");
  int32_t rank = 0;
  for (const Json& m : model["merges"]) {
    std::string a, b;
    if (m.is_string()) {
      const std::string s = m;
      const size_t space = s.find(' ');
      if (space == std::string::npos) return bad(absl::StrCat("merge ", rank, " is malformed"));
      a = s.substr(0, space), b = s.substr(space + 1);
    } else if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string()) {
      a = m[0], b = m[1];
    } else {
      return bad(absl::StrCat("merge ", rank, " is malformed"));
    }
    auto ia = spelled.find(a), ib = spelled.find(b), iab = spelled.find(a + b);
    if (ia == spelled.end() || ib == spelled.end() || iab == spelled.end()) {
      return bad(absl::StrCat("merge ", rank, " names a token that is not in vocab"));
    }
    merges.try_emplace(PairKey(ia->second, ib->second), Merge{rank++, iab->second});
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::ReadAdded(const Json& list) {
  for (const Json& t : list) {
    if (!t.is_object() || !t.contains("content") || !t["content"].is_string() || !t.contains("id") || !t["id"].is_number_integer()) {
      return absl::InvalidArgumentError("tokenizer.json: added_tokens has an entry without content or id");
    }
    AddedToken a{t["content"], "", 0, t.value("special", false), t.value("normalized", false)};
    const int64_t id = t["id"];
    if (id < 0 || id >= static_cast<int64_t>(kMaxTokens) || a.content.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: added token '", a.content, "' is not valid"));
    }
    a.lstrip = t.value("lstrip", false), a.rstrip = t.value("rstrip", false), a.single_word = t.value("single_word", false);
    a.id = static_cast<int32_t>(id);
    if (bytes_of.size() <= static_cast<size_t>(id)) bytes_of.resize(id + 1);
    // The package's decoder takes an added token's spelling for bytes as well.
    std::string raw;
    bytes_of[id] = Unspell(a.content, &raw) ? raw : a.content;
    special.resize(std::max(special.size(), bytes_of.size()));
    special[id] = a.special;
    added.push_back(std::move(a));
  }
  special.resize(bytes_of.size());
  return absl::OkStatus();
}

// Longest first, so that a token that begins another never hides it.
void Tokenizer::Impl::IndexAdded() {
  for (AddedToken& a : added) a.match = a.normalized && nfc ? Nfc(a.content) : a.content;
  std::stable_sort(added.begin(), added.end(), [](const auto& a, const auto& b) { return a.match.size() > b.match.size(); });
  for (size_t i = 0; i < added.size(); ++i) {
    by_first[added[i].normalized][static_cast<uint8_t>(added[i].match[0])].push_back(static_cast<int32_t>(i));
  }
}

absl::Status Tokenizer::Impl::AddSplit(std::string regex) {
  // The package's \s is Unicode white space; ICU's misses two code points of it.
  regex = absl::StrReplaceAll(regex, {{"\\\\", "\\\\"}, {"\\s", "[\\t-\\r\\u0085\\p{Z}]"}, {"\\S", "[^\\t-\\r\\u0085\\p{Z}]"}});
  UErrorCode status = U_ZERO_ERROR;
  UParseError where;
  splits.emplace_back(icu::RegexPattern::compile(icu::UnicodeString::fromUTF8(regex), 0, where, status));
  if (U_FAILURE(status)) return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: pre_tokenizer pattern: ", u_errorName(status), " at offset ", where.offset));
  return absl::OkStatus();
}

absl::Status Tokenizer::Impl::ReadPreTokenizer(const Json& p, int depth) {
  auto bad = [](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: pre_tokenizer ", what)); };
  const std::string type = p.is_object() ? p.value("type", "") : "";
  if (type == "Sequence") {
    if (depth > 8) return bad("Sequences are nested too deep");
    if (!p.contains("pretokenizers") || !p["pretokenizers"].is_array()) return bad("Sequence is empty");
    for (const Json& q : p["pretokenizers"]) SWERVE_RETURN_IF_ERROR(ReadPreTokenizer(q, depth + 1));
    return absl::OkStatus();
  }
  if (type == "ByteLevel") {
    if (p.value("add_prefix_space", false)) return bad("ByteLevel add_prefix_space is not supported");
    return p.value("use_regex", true) ? AddSplit(kGpt2Regex) : absl::OkStatus();
  }
  if (type == "Split") {
    if (p.value("behavior", "") != "Isolated" || p.value("invert", false)) return bad("Split is supported with behavior Isolated alone");
    if (!p.contains("pattern") || !p["pattern"].contains("Regex")) return bad("Split has no Regex");
    return AddSplit(p["pattern"]["Regex"]);
  }
  return bad(absl::StrCat("type '", type, "' is not supported (Sequence, Split, ByteLevel)"));
}

absl::Status Tokenizer::Impl::Read(const Json& json) {
  if (!json.is_object() || !json.contains("model")) return absl::InvalidArgumentError("tokenizer.json: not an object with a model");
  SWERVE_RETURN_IF_ERROR(ReadModel(json["model"]));
  SWERVE_RETURN_IF_ERROR(ReadAdded(json.value("added_tokens", Json::array())));
  if (json.contains("normalizer") && !json["normalizer"].is_null()) {
    if (json["normalizer"].value("type", "") != "NFC") return absl::InvalidArgumentError("tokenizer.json: normalizer is supported as NFC or none");
    nfc = true;
  }
  IndexAdded();
  if (!json.contains("pre_tokenizer")) return absl::InvalidArgumentError("tokenizer.json: pre_tokenizer is missing");
  return ReadPreTokenizer(json["pre_tokenizer"], 0);
}

// What stands between two added tokens is encoded as text; the tokens themselves are found leftmost first, longest first.
// A match that its single_word refuses is text, and the search goes on behind it, as the package has it.
void Tokenizer::Impl::SplitAdded(absl::string_view text, bool normalized, std::vector<int32_t>* ids) const {
  auto plain = [&](absl::string_view piece) {
    if (piece.empty()) return;
    if (normalized) return EncodePieces(piece, 0, ids);
    EncodePlain(piece, ids);
  };
  const auto& starting = by_first[normalized];
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const AddedToken* found = nullptr;
    for (int32_t index : starting[static_cast<uint8_t>(text[i])]) {
      if (text.compare(i, added[index].match.size(), added[index].match) == 0) {
        found = &added[index];
        break;
      }
    }
    if (found == nullptr) {
      ++i;
      continue;
    }
    size_t from = i, to = i + found->match.size();
    i = to;
    if (found->single_word && (WordBefore(text, from) || WordAfter(text, to))) continue;
    if (found->lstrip) from = std::max(begin, SpaceBefore(text, from));
    if (found->rstrip) to = SpaceAfter(text, to);
    if (from > begin) plain(text.substr(begin, from - begin));
    ids->push_back(found->id);
    begin = to;
  }
  if (begin < text.size()) plain(text.substr(begin));
}

void Tokenizer::Impl::EncodePlain(absl::string_view text, std::vector<int32_t>* ids) const {
  if (!nfc || std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; })) {
    return SplitAdded(text, true, ids);
  }
  SplitAdded(Nfc(text), true, ids);
}

void Tokenizer::Impl::EncodePieces(absl::string_view text, size_t level, std::vector<int32_t>* ids) const {
  if (text.empty()) return;
  if (level == splits.size()) return Bpe(text, ids);
  UErrorCode status = U_ZERO_ERROR;
  UText utext = UTEXT_INITIALIZER;
  utext_openUTF8(&utext, text.data(), static_cast<int64_t>(text.size()), &status);
  std::unique_ptr<icu::RegexMatcher> matcher(splits[level]->matcher(status));
  size_t begin = 0;
  if (U_SUCCESS(status)) {
    matcher->reset(&utext);
    while (matcher->find(status) && U_SUCCESS(status)) {
      const size_t from = matcher->start64(status), to = matcher->end64(status);
      if (U_FAILURE(status) || to <= from) continue;
      EncodePieces(text.substr(begin, from - begin), level + 1, ids);
      EncodePieces(text.substr(from, to - from), level + 1, ids);
      begin = to;
    }
  }
  EncodePieces(text.substr(begin), level + 1, ids);
  utext_close(&utext);
}

// Merges the pair of lowest rank, leftmost first, until none is left.
void Tokenizer::Impl::Bpe(absl::string_view piece, std::vector<int32_t>* ids) const {
  if (ignore_merges) {
    if (auto it = vocabulary.find(piece); it != vocabulary.end()) return ids->push_back(it->second);
  }
  struct Node {
    int32_t id, previous, next;
  };
  struct Candidate {
    int32_t rank, at, left, right;
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  const int32_t n = static_cast<int32_t>(piece.size());
  std::vector<Node> nodes(n);
  for (int32_t i = 0; i < n; ++i) nodes[i] = {byte_id[static_cast<uint8_t>(piece[i])], i - 1, i + 1 < n ? i + 1 : -1};
  std::priority_queue<Candidate> queue;
  auto push = [&](int32_t i) {
    if (i < 0 || nodes[i].next < 0) return;
    auto it = merges.find(PairKey(nodes[i].id, nodes[nodes[i].next].id));
    if (it != merges.end()) queue.push({it->second.rank, i, nodes[i].id, nodes[nodes[i].next].id});
  };
  for (int32_t i = 0; i + 1 < n; ++i) push(i);
  while (!queue.empty()) {
    const Candidate c = queue.top();
    queue.pop();
    Node& node = nodes[c.at];
    if (node.id != c.left || node.next < 0 || nodes[node.next].id != c.right) continue;  // changed since
    const int32_t gone = node.next;
    node.id = merges.find(PairKey(c.left, c.right))->second.id;
    node.next = nodes[gone].next;
    nodes[gone].id = -1;
    if (node.next >= 0) nodes[node.next].previous = c.at;
    push(node.previous);
    push(c.at);
  }
  for (int32_t i = 0; i >= 0 && n > 0; i = nodes[i].next) ids->push_back(nodes[i].id);
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::FromJson(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return absl::InvalidArgumentError("tokenizer.json: not JSON");
  auto impl = std::make_unique<Impl>();
  try {  // nlohmann's typed access throws on a type it does not expect
    SWERVE_RETURN_IF_ERROR(impl->Read(json));
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", e.what()));
  }
  return std::unique_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(const std::string& dir) {
  SWERVE_ASSIGN_OR_RETURN(std::string text, ReadFile(dir + "/tokenizer.json"));
  auto tokenizer = FromJson(text);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), dir);
  return tokenizer;
}

std::vector<int32_t> Tokenizer::Encode(absl::string_view text) const {
  std::vector<int32_t> ids;
  if (text.size() > std::numeric_limits<int32_t>::max() / 4) text = text.substr(0, std::numeric_limits<int32_t>::max() / 4);
  impl_->SplitAdded(Lossy(text), false, &ids);
  return ids;
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (int32_t id : ids) {
    if (id < 0 || id >= size() || (skip_special && impl_->special[id])) continue;
    bytes += impl_->bytes_of[id];
  }
  return Lossy(bytes);
}

std::string Tokenizer::Bytes(int32_t id) const { return id < 0 || id >= size() ? "" : impl_->bytes_of[id]; }

int32_t Tokenizer::Id(absl::string_view token) const {
  for (const AddedToken& a : impl_->added) {
    if (a.content == token) return a.id;
  }
  auto it = impl_->vocabulary.find(token);
  return it == impl_->vocabulary.end() ? -1 : it->second;
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(impl_->bytes_of.size()); }

}  // namespace swerve
