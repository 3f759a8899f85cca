// What the codecs share: sections, numbers and lists of tuples in texts. Pure functions.
#ifndef SWERVE_POLICY_CODEC_TEXT_H_
#define SWERVE_POLICY_CODEC_TEXT_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace swerve::codec {

struct Section {
  absl::string_view body;
  bool tagged = false;  // it stood between <answer> and </answer>
  bool alone = false;   // nothing stands where nothing belongs: the only answer section and the response's end
};
Section FindAnswer(absl::string_view response_text);

// `-?digits(.digits)?` off the front; `plus`: also with a plus sign. Nothing else is a number of these codecs.
std::optional<double> TakeNumber(absl::string_view* text, bool plus = false);

struct TupleStyle {
  char open = '[', close = ']';
  int values = 3;
  bool spaces = false;  // one may follow a comma
  bool plus = false;    // numbers may have a plus sign
};
using Tuple = std::array<double, 3>;

// The whole text is a list of such tuples, separated by commas.
bool StrictTuples(absl::string_view text, const TupleStyle& style, std::vector<Tuple>* tuples);

// Bracketed or parenthesised tuples of `values` numbers, whatever stands between them; at most `most`.
std::vector<Tuple> LooseTuples(absl::string_view text, int values, size_t most);

// Fixed decimals without a negative zero; `plus`: positive ones with their sign.
std::string Fixed(double value, int decimals, bool plus = false);

}  // namespace swerve::codec

#endif  // SWERVE_POLICY_CODEC_TEXT_H_
