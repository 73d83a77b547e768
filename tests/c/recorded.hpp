// What the library logs goes to where run.sh looks for what must not be said.
#ifndef RECORDED_HPP
#define RECORDED_HPP

#include <amochats.hpp>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

inline void record(amochats_level, std::string_view target, std::string_view line) {
  const char *path = std::getenv("CHECK_LOG");
  if (path == nullptr) return;
  std::ofstream(path, std::ios::app) << std::string(target) + ": " + std::string(line) + "\n";
}

#endif
