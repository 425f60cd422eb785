// Searches the model, as bid; see `usage`.
#include <atomic>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "steps.h"
#include "trace.h"

using namespace cloudfs::model;

namespace {

constexpr char kUsage[] =
    "model                  searches every configuration, which must hold, and leaves out every rule, which "
    "must\n"
    "                       break as its kept trace says\n"
    "  --config NAME        that configuration alone; prints the trace if an invariant breaks\n"
    "  --without RULE       leaves out that rule, in its own configuration or the one named\n"
    "  --long               the larger configurations, too\n"
    "  --write-traces       writes the kept traces anew\n"
    "  --memory-mib N       of each search; 2048 by default\n"
    "  --list               configurations and rules\n";

struct Options {
  std::string config;
  std::string without;
  bool is_long = false;
  bool writes_traces = false;
  bool lists = false;
  size_t memory_mib = 2048;
};

/// One search and what is expected of it.
struct Search {
  Configuration configuration;
  std::string rule;  ///< left out; empty: none
};

using Result = Outcome<Model>;

std::string summary(const Search& search, const Result& result) {
  char text[200];
  std::snprintf(text, sizeof text, "%-12s %-12s %9llu states, depth %2u, %5.1f s of CPU, %4.0f thousand/s  ",
                std::string(search.configuration.name).c_str(),
                search.rule.empty() ? "all rules" : ("no " + search.rule).c_str(),
                static_cast<unsigned long long>(result.state_count), result.depth, result.cpu_seconds,
                static_cast<double>(result.state_count) / 1000 / (result.cpu_seconds + 1e-9));
  std::string line = text;
  if (result.end == Result::End::kHolds) return line + "holds";
  if (result.end == Result::End::kOutOfMemory)
    return line +
           "STOPPED: out of memory, which shows nothing; give it more (--memory-mib) or smaller bounds";
  return line + "breaks in " + std::to_string(result.trace.size()) + " steps: " + result.broken;
}

std::string kept_trace_file(const std::string& rule) {
  return "traces/" + rule + ".txt";
}

std::string contents(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// Runs one search, says how it went, and returns whether that is as it should be.
bool run(const Search& search, const Options& options, std::mutex& printing) {
  Model model(search.configuration);
  const Result result = cloudfs::model::search(model, options.memory_mib << 20);
  std::string text = summary(search, result);
  bool is_right = result.end == Result::End::kHolds;
  if (!search.rule.empty()) {
    is_right = result.end == Result::End::kBroken;
    const std::string trace = is_right ? "Without " + search.rule + ", configuration " +
                                             std::string(search.configuration.name) + ":\n\n" +
                                             trace_text(model, result)
                                       : "";
    if (is_right && options.writes_traces) std::ofstream(kept_trace_file(search.rule)) << trace;
    if (!is_right) {
      text += "; it should break";
    } else if (!options.config.empty() || !options.without.empty()) {
      text += "\n\n" + trace;
    } else if (trace != contents(kept_trace_file(search.rule))) {
      is_right = false;
      text += "; the trace is not the kept one, " + kept_trace_file(search.rule) + ":\n\n" + trace;
    }
  } else if (result.end == Result::End::kBroken) {
    text += "\n\n" + trace_text(model, result);
  }
  const std::scoped_lock lock(printing);
  std::printf("%s %s\n", is_right ? "ok    " : "FAILED", text.c_str());
  std::fflush(stdout);
  return is_right;
}

std::vector<Search> searches(const Options& options) {
  std::vector<Search> chosen;
  for (const Configuration& configuration : configurations()) {
    const bool is_named = configuration.name == options.config;
    if (!options.without.empty() || (!options.config.empty() && !is_named)) continue;
    if (is_named || options.is_long || !configuration.is_extra) chosen.push_back({configuration, ""});
  }
  for (const RuleName& each : rule_names()) {
    if (options.without.empty() ? !options.config.empty() || each.shown_by.empty()
                                : each.name != options.without)
      continue;
    for (const Configuration& configuration : configurations()) {
      if (configuration.name != (options.config.empty() ? each.shown_by : options.config)) continue;
      chosen.push_back({configuration, std::string(each.name)});
      chosen.back().configuration.without = each.rule;
    }
  }
  return chosen;
}

void list() {
  for (const Configuration& each : configurations())
    std::printf("%-12s %s%s\n", std::string(each.name).c_str(), std::string(each.about).c_str(),
                each.is_extra ? " (--long)" : "");
  for (const RuleName& each : rule_names())
    std::printf("%-12s %s\n", std::string(each.name).c_str(), std::string(each.shown_by).c_str());
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (option == "--long")
      options.is_long = true;
    else if (option == "--write-traces")
      options.writes_traces = true;
    else if (option == "--list")
      options.lists = true;
    else if (value == nullptr)
      return false;
    else if (option == "--config")
      options.config = argv[++i];
    else if (option == "--without")
      options.without = argv[++i];
    else if (option == "--memory-mib")
      options.memory_mib = std::stoul(argv[++i]);
    else
      return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  if (options.lists) {
    list();
    return 0;
  }
  const std::vector<Search> all = searches(options);
  if (all.empty()) {
    std::fputs("no such configuration or rule; --list names them\n", stderr);
    return 2;
  }

  // Two at a time, each in its own memory: searches share nothing.
  std::mutex printing;
  std::atomic<size_t> next = 0;
  std::atomic<int> passed = 0;
  auto work = [&] {
    for (size_t i = next++; i < all.size(); i = next++)
      if (run(all[i], options, printing)) ++passed;
  };
  std::thread other(work);
  work();
  other.join();
  const int failed = static_cast<int>(all.size()) - passed;
  std::printf("model: %d passed, %d failed\n", passed.load(), failed);
  return failed == 0 ? 0 : 1;
}
