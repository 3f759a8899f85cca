// Runs a fuzzer's inputs without libFuzzer:  FUZZER CORPUS [RUNS]
// Every file of the folder CORPUS, in order of name; then RUNS inputs made from them by mutations drawn from a fixed
// seed: the same ones on every machine. An input that takes more than 25 s, or ends the process, is written to
// crash-FUZZER in the current folder. Memory is bounded to 2 GB (under a sanitizer: by its own options).
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kMaxSize = 1 << 16;
constexpr unsigned kSecondsPerInput = 25;

const std::string* current = nullptr;  // the input that runs
char crash_file[256];

void SaveAndDie(int signal) {
  if (current != nullptr) {
    const int file = open(crash_file, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (file >= 0 && write(file, current->data(), current->size()) >= 0) {
      for (const char* part : {"fuzzer: the input that did it is in ", const_cast<const char*>(crash_file), "\n"}) {
        if (write(2, part, strlen(part)) < 0) break;
      }
    }
  }
  ::signal(signal, SIG_DFL);
  raise(signal == SIGALRM ? SIGABRT : signal);
}

void Run(const std::string& input) {
  current = &input;
  alarm(kSecondsPerInput);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  alarm(0);
  current = nullptr;
}

// std::mt19937_64 is the same everywhere; the standard's distributions are not.
class Draw {
 public:
  size_t Below(size_t n) { return n == 0 ? 0 : engine_() % n; }
  uint64_t Any() { return engine_(); }

 private:
  std::mt19937_64 engine_{20260311};
};

const char* const kWords[] = {"null", "0", "-1", "1e308", "-1e308", "1e-320", "9223372036854775807", "[]", "{}", "[[", "\"",
                              "1e999", "-0", "\xff", "\\u0000", "true", "NaN", ",", "}", "]"};

// One change of `text`.
void Mutate(const std::vector<std::string>& corpus, Draw& draw, std::string* text) {
  const size_t at = draw.Below(text->size() + 1), left = text->size() - at;
  switch (draw.Below(8)) {
    case 0:
      if (left > 0) (*text)[at] ^= static_cast<char>(1 << draw.Below(8));
      return;
    case 1:
      if (left > 0) (*text)[at] = static_cast<char>(draw.Any());
      return;
    case 2: text->insert(at, 1, static_cast<char>(draw.Any())); return;
    case 3: text->erase(at, 1 + draw.Below(std::min<size_t>(left, 64))); return;
    case 4: text->insert(at, text->substr(draw.Below(text->size() + 1), 1 + draw.Below(256))); return;
    case 5: {
      const std::string& other = corpus[draw.Below(corpus.size())];
      text->insert(at, other.substr(draw.Below(other.size() + 1), 1 + draw.Below(256)));
      return;
    }
    case 6: text->replace(at, draw.Below(std::min<size_t>(left, 8) + 1), kWords[draw.Below(std::size(kWords))]); return;
    default: {  // eight bytes: a number of a binary format, or several digits
      const uint64_t odd[] = {0, ~0ull, 0x7ff0000000000000, 0x7ff8000000000000, 0x7fefffffffffffff, 1ull << 63, draw.Any()};
      const uint64_t value = odd[draw.Below(std::size(odd))];
      char bytes[8];
      memcpy(bytes, &value, sizeof bytes);
      text->replace(at, std::min<size_t>(left, 8), bytes, sizeof bytes);
    }
  }
}

std::vector<std::string> ReadCorpus(const char* folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s CORPUS [RUNS]\n", argv[0]);
    return 2;
  }
  snprintf(crash_file, sizeof crash_file, "crash-%s", std::filesystem::path(argv[0]).filename().c_str());
  for (int s : {SIGABRT, SIGALRM}) signal(s, SaveAndDie);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  signal(SIGSEGV, SaveAndDie);
  const rlimit memory{2ull << 30, 2ull << 30};
  setrlimit(RLIMIT_DATA, &memory);
#endif
  const std::vector<std::string> corpus = ReadCorpus(argv[1]);
  if (corpus.empty()) {
    fprintf(stderr, "no inputs in %s\n", argv[1]);
    return 1;
  }
  for (const std::string& input : corpus) Run(input);
  const int runs = argc > 2 ? atoi(argv[2]) : 0;
  Draw draw;
  for (int i = 0; i < runs; ++i) {
    std::string input = corpus[draw.Below(corpus.size())];
    for (size_t n = 1 + draw.Below(6); n > 0; --n) Mutate(corpus, draw, &input);
    input.resize(std::min(input.size(), kMaxSize));
    Run(input);
  }
  printf("%zu inputs of the corpus and %d mutated ones ran\n", corpus.size(), runs);
  return 0;
}
